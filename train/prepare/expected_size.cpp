#include "train/prepare/expected_size.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace weir {
namespace {

constexpr std::size_t kSamplePieces = 32;  // kept at least, of a text that has more
constexpr double kSmallFiles = 1 << 16;    // headers, dataset.json, and that the disk is given out in blocks
constexpr double kMargin = 1.1;            // a sample is not the text
constexpr double kMostBytesPerToken = 8;   // of any text
constexpr double kDocumentBytesPerToken = 2;

class TokenCount final : public TokenSink {
 public:
  void append(std::span<const std::int32_t> tokens) override { size_ += std::ssize(tokens); }
  std::int64_t size() const override { return size_; }

 private:
  std::int64_t size_ = 0;
};

// Tokens per byte of a text like the sample.
double token_share(const std::string& sample, const Tokenizer& tokenizer, Cut cut, Reporter& reporter) {
  TokenCount count;
  Encoder encoder(tokenizer, cut, std::numeric_limits<std::int64_t>::max(), count, "sample", reporter);
  encoder.append(*text_in_memory(sample, "sample"));
  return static_cast<double>(count.size()) / static_cast<double>(sample.size());
}

// At most what the splits are cut to.
double tokens_of(const Plan& plan, double share) {
  double limit = 0;
  for (const PlannedSplit& split : plan.splits) limit += static_cast<double>(split.limit);
  return plan.text_bytes == 0 ? limit : std::min(limit, share * static_cast<double>(plan.text_bytes));
}

// To two digits, so that it is not less when it is printed.
std::uint64_t rounded_up(double bytes) {
  const double unit = std::pow(10.0, std::floor(std::log10(bytes)) - 1);
  return static_cast<std::uint64_t>(std::ceil(bytes / unit) * unit);
}

}  // namespace

void TextSample::add(std::string_view piece) {
  if (seen_++ % every_ != 0) return;
  text_ += piece;
  if (text_.size() < 2 * kSamplePieces * kPieceBytes) return;
  std::string kept;
  for (std::size_t i = 0; i < 2 * kSamplePieces; i += 2) kept.append(text_, i * kPieceBytes, kPieceBytes);
  text_ = std::move(kept);
  every_ *= 2;
}

std::uint64_t expected_bytes(const Plan& plan, const Tokenizer& tokenizer, Cut cut, std::uint64_t tokenizer_bytes,
                             Reporter& reporter) {
  double tokens = 0;
  if (dynamic_cast<const ByteTokenizer*>(&tokenizer) != nullptr)
    tokens = tokens_of(plan, 1);
  else if (plan.sample.empty())
    tokens = tokens_of(plan, 1 / kDocumentBytesPerToken);
  else
    tokens = tokens_of(plan, kMargin * token_share(plan.sample, tokenizer, cut, reporter));
  const double bytes = tokens * static_cast<double>(bytes_per_token(tokenizer.vocabulary()));
  return rounded_up(bytes + kSmallFiles + static_cast<double>(tokenizer_bytes));
}

std::uint64_t least_bytes(const Plan& plan, std::int64_t vocabulary) {
  const auto width = static_cast<double>(bytes_per_token(vocabulary));
  return static_cast<std::uint64_t>(tokens_of(plan, 1 / kMostBytesPerToken) * width);
}

}  // namespace weir
