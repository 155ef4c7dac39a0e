#include "train/prepare/prepare.h"

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/prepare/encode.h"
#include "train/prepare/output_folder.h"
#include "train/prepare/plan.h"
#include "train/progress.h"
#include "train/tokenizer/sentencepiece.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {
namespace {

constexpr std::uint64_t kMaxTokenizerFile = std::uint64_t{64} << 20;

// A tokenizer, and the file that it came from.
struct ChosenTokenizer {
  std::unique_ptr<Tokenizer> tokenizer;
  std::string file;  // its name in the folder; "bytes" where there is none
  std::string contents;
};

// How the texts are cut so that the tokenizer sees what it was made for.
Cut cut_for(const Plan& plan, const std::string& tokenizer_file) {
  if (plan.documents) return Cut::documents;
  if (tokenizer_file == "bytes") return plan.counts_words ? Cut::whole_lines : Cut::bytes;
  return tokenizer_file.ends_with(".json") ? Cut::whole_lines : Cut::lines;
}

std::string train_tokenizer(const Plan& plan, const PrepareOptions& options, Reporter& reporter) {
  reporter.message(fmt::format("training a SentencePiece tokenizer of {} pieces (BPE)", options.vocabulary));
  const Cut cut = plan.documents ? Cut::documents : Cut::lines;
  std::unique_ptr<TextStream> text;
  std::optional<LineReader> lines;
  std::uint64_t bytes = 0, shown = 0;
  const NextLine next_line = [&](std::string& line) {
    for (;;) {
      if (text == nullptr) {
        text = plan.tokenizer_texts();
        if (text == nullptr) return false;
        lines.emplace(*text);
      }
      if (next_piece(*lines, cut, text->label(), line)) break;
      text = nullptr;
    }
    bytes += line.size();
    if (bytes - shown >= 10'000'000) {
      shown = bytes;
      reporter.check_stop();
      reporter.progress(fmt::format("tokenizer: {:.0f} MB of text read", static_cast<double>(bytes) / 1e6));
    }
    return true;
  };
  // The library cannot be interrupted, and nothing has been written yet.
  reporter.may_exit(true);
  SentencePieceTraining settings;
  settings.vocabulary = options.vocabulary;
  std::string model = train_sentencepiece(settings, next_line);
  reporter.may_exit(false);
  return model;
}

// The model is opened from where it will stay, since that is what others will open.
ChosenTokenizer choose_tokenizer(const Plan& plan, const PrepareOptions& options, Reporter& reporter) {
  const std::string& choice = options.tokenizer.empty() ? plan.tokenizer : options.tokenizer;
  if (choice == "bytes") return {open_tokenizer("bytes"), "bytes", ""};
  if (choice == "train") return {nullptr, "tokenizer.model", train_tokenizer(plan, options, reporter)};
  ChosenTokenizer chosen{open_tokenizer(choice), "", read_file(choice, kMaxTokenizerFile)};
  chosen.file = choice.ends_with(".json") ? "tokenizer.json" : "tokenizer.model";
  return chosen;
}

// Tokens take one byte where they are bytes, two up to a vocabulary of 65,536; about three bytes of text make one then.
std::uint64_t expected_bytes(const Plan& plan, const PrepareOptions& options) {
  const std::string& choice = options.tokenizer.empty() ? plan.tokenizer : options.tokenizer;
  if (plan.text_bytes > 0) return choice == "bytes" ? plan.text_bytes : plan.text_bytes * 2 / 3;
  std::uint64_t tokens = 0;
  for (const PlannedSplit& split : plan.splits) tokens += static_cast<std::uint64_t>(split.limit);
  return choice == "bytes" ? tokens : 2 * tokens;
}

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

void check_space(const OutputFolder& folder, std::uint64_t needed, const std::string& out, Reporter& reporter) {
  const std::uint64_t free = folder.free_bytes();
  reporter.message(
      fmt::format("{} will take about {}; {} are free", printable(out, 4096), megabytes(needed), megabytes(free)));
  if (needed > free)
    throw RunError(ExitCode::io, fmt::format("{}: the data set will take about {}, but only {} are free; free some "
                                             "space, or name another folder with --out",
                                             printable(out, 4096), megabytes(needed), megabytes(free)));
}

Split encode_split(const PlannedSplit& planned, const Plan& plan, const Tokenizer& tokenizer, Cut cut,
                   const std::string& folder, Reporter& reporter) {
  SplitWriter writer(folder, planned.name, tokenizer.vocabulary());
  Encoder encoder(tokenizer, cut, planned.limit, writer, planned.name, reporter);
  while (!encoder.full()) {
    const std::unique_ptr<TextStream> text = planned.next();
    if (text == nullptr) break;
    encoder.append(*text);
  }
  const EncodeTotals& totals = encoder.totals();
  if (writer.size() == 0)
    throw RunError(ExitCode::bad_data,
                   fmt::format("{}: the text of this split gives no token; check the files given", planned.name));
  const double speed = totals.seconds > 0 ? static_cast<double>(totals.bytes) / 1e6 / totals.seconds : 0;
  reporter.message(fmt::format("{}: {} tokens of {} of text, encoded at {:.1f} MB/s", planned.name, writer.size(),
                               megabytes(static_cast<std::uint64_t>(totals.bytes)), speed));
  Split split = writer.commit();
  if (!encoder.full()) split.bytes = totals.bytes;  // else the last document was cut
  if (plan.counts_words) split.words = totals.words;
  return split;
}

}  // namespace

Prepared prepare(const PrepareOptions& options, Reporter& reporter) {
  const std::string out = options.out.empty() ? "data/" + options.dataset : options.out;
  const Plan plan = make_plan(options, reporter);
  { check_space(OutputFolder(out, options.replace), expected_bytes(plan, options), out, reporter); }
  ChosenTokenizer chosen = choose_tokenizer(plan, options, reporter);

  OutputFolder folder(out, options.replace);
  if (!chosen.contents.empty()) write_file_synced(folder.path() + "/" + chosen.file, chosen.contents);
  if (chosen.tokenizer == nullptr) chosen.tokenizer = open_tokenizer(folder.path() + "/" + chosen.file);
  const Tokenizer& tokenizer = *chosen.tokenizer;

  Dataset dataset;
  dataset.name = options.dataset;
  dataset.tokenizer = chosen.file;
  dataset.vocabulary = tokenizer.vocabulary();
  for (const PlannedSplit& planned : plan.splits)
    dataset.splits[planned.name] =
        encode_split(planned, plan, tokenizer, cut_for(plan, chosen.file), folder.path(), reporter);
  dataset.source = plan.origin();
  write_dataset(folder.path(), dataset);
  reporter.check_stop();
  folder.commit();
  return {out, dataset};
}

}  // namespace weir
