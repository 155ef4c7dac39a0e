#include "train/prepare/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>

#include "core/error.h"
#include "core/parallel.h"
#include "core/text.h"
#include "train/progress.h"

namespace weir {
namespace {

constexpr std::size_t kBatchBytes = std::size_t{8} << 20;  // read at once
constexpr std::size_t kGroupBytes = std::size_t{1} << 16;  // encoded by one thread at once

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::int64_t count_words(std::string_view line) {
  std::int64_t words = 1;  // the end of the line
  bool inside = false;
  for (const char c : line) {
    words += !is_blank(c) && !inside;
    inside = !is_blank(c);
  }
  return words;
}

// The text of a document and what ends it; empty where the text is.
std::string ended_document(std::string_view line, const std::string& label, std::int64_t number, DocumentLog& log) {
  std::string text = document_text(line, label, number, log);
  return text.empty() ? text : std::move(text) + kDocumentEnd;
}

std::string_view without_end(std::string_view line) {
  for (const char end : {'\n', '\r'})
    if (line.ends_with(end)) line.remove_suffix(1);
  return line;
}

}  // namespace

// Pieces that lie one after another.
struct Encoder::Batch {
  std::string text;
  std::vector<std::size_t> ends;
  std::int64_t first_line = 1;
};

// What one thread makes of neighbouring pieces.
struct Encoder::Group {
  std::vector<std::int32_t> tokens;
  EncodeTotals totals;
  DocumentLog log;
};

std::string EncodeTotals::speed() const {
  return seconds > 0 ? byte_size(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds)) + "/s" : "0 bytes/s";
}

double EncodeTotals::unknown_share() const {
  return bytes > 0 ? static_cast<double>(unknown_bytes) / static_cast<double>(bytes) : 0;
}

Cut cut_for(const Tokenizer& tokenizer) { return tokenizer.keeps_line_ends() ? Cut::whole_lines : Cut::lines; }

Encoder::Encoder(const Tokenizer& tokenizer, Cut cut, std::int64_t limit, TokenSink& into, std::string label,
                 Reporter& reporter)
    : tokenizer_(tokenizer), cut_(cut), limit_(limit), into_(into), label_(std::move(label)), reporter_(reporter) {}

void Encoder::append(TextStream& text) {
  LineReader lines(text);
  const auto read_batch = [&] {
    Batch batch;
    batch.first_line = lines.lines() + 1;
    if (cut_ == Cut::bytes) {
      batch.text.resize(kBatchBytes);
      batch.text.resize(text.read(batch.text));
      for (std::size_t end = 0; end < batch.text.size();)
        batch.ends.push_back(end = std::min(end + kGroupBytes, batch.text.size()));
      return batch;
    }
    while (batch.text.size() < kBatchBytes && lines.append_line(batch.text)) batch.ends.push_back(batch.text.size());
    return batch;
  };
  DocumentLog log;
  // On a thread of its own, or where none is granted, when it is asked for.
  std::future<Batch> next = std::async(read_batch);
  while (!full()) {
    const Batch batch = next.get();
    if (batch.ends.empty()) break;
    next = std::async(read_batch);
    encode(batch, text.label(), log);
    log.check(false);
  }
  log.check(true);
  totals_.mended.add(log.mended);
}

void Encoder::encode(const Batch& batch, const std::string& text_label, DocumentLog& log) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::size_t> begins{0};  // pieces at which groups begin
  for (std::size_t piece = 0, begin = 0; piece < batch.ends.size(); ++piece)
    if (batch.ends[piece] - begin >= kGroupBytes || piece + 1 == batch.ends.size()) {
      begins.push_back(piece + 1);
      begin = batch.ends[piece];
    }
  std::vector<Group> groups(begins.size() - 1);
  parallel_for(static_cast<std::int64_t>(groups.size()), 1, [&](std::int64_t first, std::int64_t last) {
    for (auto g = static_cast<std::size_t>(first); g < static_cast<std::size_t>(last); ++g)
      for (std::size_t piece = begins[g]; piece < begins[g + 1]; ++piece) {
        const std::size_t begin = piece == 0 ? 0 : batch.ends[piece - 1];
        const std::string_view part = std::string_view(batch.text).substr(begin, batch.ends[piece] - begin);
        encode_piece(part, text_label, batch.first_line + static_cast<std::int64_t>(piece), groups[g]);
      }
  });
  for (const Group& group : groups) {
    reporter_.check_stop();
    const std::int64_t room = limit_ - into_.size();
    const auto count = std::min<std::int64_t>(room, static_cast<std::int64_t>(group.tokens.size()));
    into_.append({group.tokens.data(), static_cast<std::size_t>(count)});
    totals_.bytes += group.totals.bytes;
    totals_.words += group.totals.words;
    totals_.unknown_bytes += group.totals.unknown_bytes;
    log.add(group.log);
  }
  totals_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  reporter_.progress(fmt::format("{}: {} of text, {} tokens, {}", label_,
                                 byte_size(static_cast<std::uint64_t>(totals_.bytes)),
                                 format_si(static_cast<double>(into_.size())), totals_.speed()));
}

void Encoder::encode_piece(std::string_view piece, const std::string& text_label, std::int64_t line,
                           Group& group) const {
  const std::string document = cut_ == Cut::documents ? ended_document(piece, text_label, line, group.log) : "";
  if (cut_ == Cut::documents) piece = document;
  group.totals.bytes += static_cast<std::int64_t>(piece.size());
  if (cut_ == Cut::lines || cut_ == Cut::whole_lines) group.totals.words += count_words(piece);
  if (cut_ == Cut::lines) {
    const std::string_view kept = without_end(piece);
    group.totals.unknown_bytes += std::ssize(piece) - std::ssize(kept);
    piece = kept;
  }
  if (piece.empty()) return;
  const std::vector<std::int32_t> tokens = tokenizer_.encode_counting(piece, group.totals.unknown_bytes);
  group.tokens.insert(group.tokens.end(), tokens.begin(), tokens.end());
}

bool PieceReader::next(std::string& piece) {
  piece.clear();
  const bool found = lines_.append_line(piece);
  if (cut_ == Cut::documents) {
    if (found) piece = ended_document(piece, text_->label(), lines_.lines(), log_);
    log_.check(!found);
  } else if (cut_ == Cut::lines) {
    piece.resize(without_end(piece).size());
  }
  return found;
}

}  // namespace weir
