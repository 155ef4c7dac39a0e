#include "train/prepare/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
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
std::string document_text(std::string_view line, const std::string& label, std::int64_t number) {
  const auto fail = [&](const std::string& why) -> std::string {
    throw RunError(ExitCode::bad_data, fmt::format("{}: line {} {}; each line must be a JSON object with a string "
                                                   "\"text\"",
                                                   label, number, why));
  };
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& error) {
    return fail(fmt::format("is not JSON ({})", printable(error.what())));
  }
  const auto text = object.is_object() ? object.find("text") : object.end();
  if (!object.is_object() || text == object.end() || !text->is_string()) return fail("has no string \"text\"");
  std::string& value = text->get_ref<std::string&>();
  return value.empty() ? std::move(value) : std::move(value) + kDocumentEnd;
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
};

Encoder::Encoder(const Tokenizer& tokenizer, Cut cut, std::int64_t limit, SplitWriter& into, std::string label,
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
  std::future<Batch> next = std::async(std::launch::async, read_batch);
  while (!full()) {
    const Batch batch = next.get();
    if (batch.ends.empty()) return;
    next = std::async(std::launch::async, read_batch);
    encode(batch, text.label());
  }
}

void Encoder::encode(const Batch& batch, const std::string& text_label) {
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
  }
  totals_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double megabytes = static_cast<double>(totals_.bytes) / 1e6;
  reporter_.progress(fmt::format("{}: {:.1f} MB of text, {} tokens, {:.1f} MB/s", label_, megabytes,
                                 format_si(static_cast<double>(into_.size())), megabytes / totals_.seconds));
}

void Encoder::encode_piece(std::string_view piece, const std::string& text_label, std::int64_t line,
                           Group& group) const {
  const std::string document = cut_ == Cut::documents ? document_text(piece, text_label, line) : "";
  if (cut_ == Cut::documents) piece = document;
  group.totals.bytes += static_cast<std::int64_t>(piece.size());
  if (cut_ == Cut::lines || cut_ == Cut::whole_lines) group.totals.words += count_words(piece);
  if (cut_ == Cut::lines) piece = without_end(piece);
  if (piece.empty()) return;
  const std::vector<std::int32_t> tokens = tokenizer_.encode(piece);
  group.tokens.insert(group.tokens.end(), tokens.begin(), tokens.end());
}

bool next_piece(LineReader& lines, Cut cut, const std::string& label, std::string& piece) {
  piece.clear();
  if (!lines.append_line(piece)) return false;
  if (cut == Cut::documents)
    piece = document_text(piece, label, lines.lines());
  else if (cut == Cut::lines)
    piece.resize(without_end(piece).size());
  return true;
}

}  // namespace weir
