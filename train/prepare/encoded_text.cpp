#include "train/prepare/encoded_text.h"

#include <fmt/format.h>

#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/prepare/encode.h"

namespace weir {
namespace {

class TemporaryTokens final : public TokenSink {
 public:
  explicit TemporaryTokens(const std::string& label) : file_(label) {}
  void append(std::span<const std::int32_t> tokens) override {
    file_.write(std::as_bytes(tokens));
    size_ += std::ssize(tokens);
  }
  std::int64_t size() const override { return size_; }
  std::unique_ptr<const RandomAccessFile> finish() { return file_.finish(); }

 private:
  TemporaryFile file_;
  std::int64_t size_ = 0;
};

class NoReporter final : public Reporter {
 public:
  void message(const std::string&) override {}
  void progress(const std::string&) override {}
  bool stop_requested() const override { return false; }
  void may_exit(bool) override {}
};

}  // namespace

Corpus encode_text(const std::string& path, const std::string& tokenizer_file, const TextOptions& options) {
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(tokenizer_file);
  const std::unique_ptr<TextStream> text = open_text(path, options);
  TemporaryTokens tokens(text->label());
  NoReporter reporter;
  Encoder encoder(*tokenizer, cut_for(*tokenizer), std::numeric_limits<std::int64_t>::max(), tokens, path, reporter);
  encoder.append(*text);
  if (tokens.size() == 0)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the tokenizer makes no token of this text; name another", text->label()));
  return Corpus::encoded(path, TokenFile::plain(tokens.finish(), tokenizer->vocabulary()), tokenizer_file,
                         encoder.totals().bytes, encoder.totals().words, encoder.totals().unknown_share());
}

}  // namespace weir
