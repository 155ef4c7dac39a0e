#include "train/prepare/prepare.h"

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/text.h"
#include "train/prepare/encode.h"
#include "train/prepare/expected_size.h"
#include "train/prepare/output_folder.h"
#include "train/prepare/plan.h"
#include "train/progress.h"
#include "train/tokenizer/sentencepiece.h"
#include "train/tokenizer/tokenizer.h"
#include "train/tokenizer/unknown_text.h"

namespace weir {
namespace {

constexpr std::uint64_t kMaxTokenizerFile = std::uint64_t{64} << 20;

// A tokenizer, and the file that it came from.
struct ChosenTokenizer {
  std::unique_ptr<Tokenizer> tokenizer;
  std::string file;  // its name in the folder; "bytes" where there is none
  std::string contents;
};

const std::string& tokenizer_choice(const Plan& plan, const PrepareOptions& options) {
  return options.tokenizer.empty() ? plan.tokenizer : options.tokenizer;
}

Cut cut_of(const Plan& plan, const ChosenTokenizer& chosen) {
  if (plan.documents) return Cut::documents;
  if (chosen.file == "bytes") return plan.counts_words ? Cut::whole_lines : Cut::bytes;
  return cut_for(*chosen.tokenizer);
}

// What the tokenizer is trained on, piece by piece.
class TrainingText {
 public:
  TrainingText(const Plan& plan, Reporter& reporter)
      : plan_(plan), cut_(plan.documents ? Cut::documents : Cut::lines), reporter_(reporter) {}

  bool next(std::string& piece) {
    reading_ = true;  // and still so after an exception
    bool found = false;
    while (!found && (pieces_ || open())) {
      found = pieces_->next(piece);
      if (!found) pieces_.reset();
    }
    if (found) count(piece.size());
    reading_ = false;
    return found;
  }
  bool failed() const { return reading_; }
  // Of the text, that in lines which the trainer leaves out.
  double share_left_out() const {
    return bytes_ == 0 ? 0 : static_cast<double>(left_out_) / static_cast<double>(bytes_);
  }

 private:
  bool open() {
    std::unique_ptr<TextStream> text = plan_.tokenizer_texts();
    if (text == nullptr) return false;
    pieces_.emplace(std::move(text), cut_);
    return true;
  }

  void count(std::size_t bytes) {
    bytes_ += bytes;
    if (bytes > kLongestTrainingLine) left_out_ += bytes;
    if (bytes_ - shown_ < 10'000'000) return;
    shown_ = bytes_;
    reporter_.check_stop();
    reporter_.progress(fmt::format("tokenizer: {} of text read", byte_size(bytes_)));
  }

  const Plan& plan_;
  const Cut cut_;
  Reporter& reporter_;
  std::optional<PieceReader> pieces_;
  std::uint64_t bytes_ = 0, shown_ = 0, left_out_ = 0;
  bool reading_ = false;
};

std::string train_tokenizer(const Plan& plan, const PrepareOptions& options, Reporter& reporter) {
  reporter.message(fmt::format("training a SentencePiece tokenizer of {} pieces (BPE)", options.vocabulary));
  TrainingText text(plan, reporter);
  // The library cannot be interrupted, and nothing has been written yet.
  reporter.may_exit(true);
  SentencePieceTraining settings;
  settings.vocabulary = options.vocabulary;
  settings.keep_layout = !plan.published_tokenizer;
  try {
    std::string model = train_sentencepiece(settings, [&](std::string& line) { return text.next(line); });
    reporter.may_exit(false);
    if (const double share = text.share_left_out(); share >= 0.01 && !plan.documents)
      reporter.message(
          fmt::format("note: {:.0f}% of the text is in lines of more than {} bytes, on which no tokenizer "
                      "is trained; 'fold -s' breaks them",
                      100 * share, kLongestTrainingLine));
    return model;
  } catch (const RunError& error) {
    if (text.failed()) throw;
    throw RunError(error.code(), fmt::format("--vocabulary {}: {}, or --tokenizer bytes, which suits any text",
                                             options.vocabulary, error.what()));
  }
}

// The model is opened from where it will stay, since that is what others will open.
ChosenTokenizer choose_tokenizer(const Plan& plan, const PrepareOptions& options, Reporter& reporter) {
  const std::string& choice = tokenizer_choice(plan, options);
  if (choice == "bytes") return {open_tokenizer("bytes"), "bytes", ""};
  if (choice == "train") return {nullptr, "tokenizer.model", train_tokenizer(plan, options, reporter)};
  ChosenTokenizer chosen{open_tokenizer(choice), "", read_file(choice, kMaxTokenizerFile)};
  chosen.file = choice.ends_with(".json") ? "tokenizer.json" : "tokenizer.model";
  return chosen;
}

void refuse_small_disk(const std::string& out, std::uint64_t needed, std::uint64_t free, const char* about) {
  if (needed > free)
    throw RunError(ExitCode::io, fmt::format("{}: the data set will take {} {}, but only {} are free; free some "
                                             "space, or name another folder with --out",
                                             printable(out, 4096), about, byte_size(needed), byte_size(free)));
}

void check_space(const std::string& out, std::uint64_t needed, std::uint64_t free, Reporter& reporter) {
  reporter.message(
      fmt::format("{} will take about {}; {} are free", printable(out, 4096), byte_size(needed), byte_size(free)));
  refuse_small_disk(out, needed, free, "about");
}

// What helps against much text without a token.
std::string advice_on_unknown(const Plan& plan, const std::string& choice) {
  if (choice == "train" && plan.published_tokenizer)
    return "a tokenizer of the published settings does this, so perplexities per token compare with published ones; "
           "for other comparisons give --tokenizer bytes";
  return choice == "train" ? "--tokenizer bytes has a token for everything"
                           : "--tokenizer bytes has a token for everything, and one that --tokenizer train makes of a "
                             "text of yours keeps its blanks and line ends";
}

Split encode_split(const PlannedSplit& planned, const Plan& plan, const Tokenizer& tokenizer, Cut cut,
                   const std::string& folder, const std::string& choice, Reporter& reporter) {
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
                   fmt::format("{}: the text of this split gives no token; {}", planned.name, planned.where_empty));
  reporter.message(fmt::format("{}: {} of {} of text, encoded at {}", planned.name, counted(writer.size(), "token"),
                               byte_size(static_cast<std::uint64_t>(totals.bytes)), totals.speed()));
  if (const std::string mended = totals.mended.describe(); !mended.empty())
    reporter.message(fmt::format("{}: mended: {}", planned.name, mended));
  if (totals.unknown_bytes > 0)
    reporter.message(fmt::format("{}: {}{}", planned.name, describe_unknown(totals.unknown_share()),
                                 totals.unknown_share() < kMuchUnknown ? "" : "; " + advice_on_unknown(plan, choice)));
  Split split = writer.commit();
  if (!encoder.full()) split.bytes = totals.bytes;  // else the last document was cut
  if (plan.counts_words) split.words = totals.words;
  split.mended = totals.mended.by_name();
  split.unknown_share = totals.unknown_share();
  return split;
}

}  // namespace

Prepared prepare(const PrepareOptions& options, Reporter& reporter) {
  const std::string out = options.out.empty() ? "data/" + options.dataset : options.out;
  const Plan plan = make_plan(options, reporter);
  const std::string& choice = tokenizer_choice(plan, options);
  {
    const OutputFolder early(out, options.replace);  // what is in the way is found before a tokenizer is trained
    const std::int64_t vocabulary = choice == "train" ? options.vocabulary : 1;
    refuse_small_disk(out, least_bytes(plan, vocabulary), early.free_bytes(), "at least");
  }
  ChosenTokenizer chosen = choose_tokenizer(plan, options, reporter);

  OutputFolder folder(out, options.replace);
  const std::uint64_t free = folder.free_bytes();
  if (!chosen.contents.empty()) write_file_synced(folder.path() + "/" + chosen.file, chosen.contents);
  if (chosen.tokenizer == nullptr) chosen.tokenizer = open_tokenizer(folder.path() + "/" + chosen.file);
  const Tokenizer& tokenizer = *chosen.tokenizer;
  const Cut cut = cut_of(plan, chosen);
  check_space(out, expected_bytes(plan, tokenizer, cut, chosen.contents.size(), reporter), free, reporter);

  Dataset dataset;
  dataset.name = options.dataset;
  dataset.tokenizer = chosen.file;
  dataset.vocabulary = tokenizer.vocabulary();
  for (const PlannedSplit& planned : plan.splits)
    dataset.splits[planned.name] = encode_split(planned, plan, tokenizer, cut, folder.path(), choice, reporter);
  dataset.source = plan.origin();
  write_dataset(folder.path(), dataset);
  reporter.check_stop();
  folder.commit();
  return {out, dataset};
}

}  // namespace weir
