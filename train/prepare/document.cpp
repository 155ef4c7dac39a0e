#include "train/prepare/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "core/json_reader.h"
#include "core/text.h"

namespace weir {
namespace {

constexpr std::int64_t kBadShare = 10;       // one line in so many may be bad
constexpr std::int64_t kEnoughLines = 1000;  // to judge a file before its end
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

struct Words {
  const char *name, *one, *many, *fate;
};
constexpr Words kWords[kOddities] = {
    {"lone_surrogates", "lone surrogate", "lone surrogates", ""},
    {"invalid_bytes", "byte that is not UTF-8", "bytes that are not UTF-8", ""},
    {"odd_numbers", "number that JSON does not have", "numbers that JSON does not have", ""},
    {"blank_lines", "blank line", "blank lines", " skipped"},
    {"bad_lines", "line without a document", "lines without a document", " skipped"},
};

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.';
}

// A line of JSON with what JSON does not have replaced; all else, sound or not, stays as it is.
class Mender {
 public:
  explicit Mender(std::string_view line) : line_(line) {}

  std::int64_t surrogates = 0, bytes = 0, numbers = 0;

  std::string run() {
    while (at_ < line_.size()) {
      const char c = line_[at_];
      if (c == '"') inside_ = !inside_;
      if (inside_ && c == '\\')
        escape();
      else if (inside_ && static_cast<unsigned char>(c) >= 0x80)
        character();
      else if (!inside_ && is_word(c))
        word();
      else
        copy(1);
    }
    return std::move(out_);
  }

 private:
  void copy(std::size_t count) {
    out_ += line_.substr(at_, count);
    at_ += count;
  }
  void replace(std::size_t count, std::string_view by) {
    out_ += by;
    at_ += count;
  }

  // The code unit of a \u escape at `at`; -1 where there is none.
  int code_unit(std::size_t at) const {
    if (at + 6 > line_.size() || line_[at] != '\\' || line_[at + 1] != 'u') return -1;
    const std::string digits(line_.substr(at + 2, 4));
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) return -1;
    return static_cast<int>(std::strtol(digits.c_str(), nullptr, 16));
  }

  void escape() {
    const int first = code_unit(at_), second = code_unit(at_ + 6);
    const auto is_high = [](int unit) { return unit >= 0xd800 && unit <= 0xdbff; };
    const auto is_low = [](int unit) { return unit >= 0xdc00 && unit <= 0xdfff; };
    if (is_high(first) && is_low(second)) return copy(12);
    if (!is_high(first) && !is_low(first)) return copy(2);
    ++surrogates;
    replace(6, kReplacement);
  }

  void character() {
    for (std::size_t length = 2; length <= 4 && at_ + length <= line_.size(); ++length)
      if (is_utf8(line_.substr(at_, length))) return copy(length);
    ++bytes;
    replace(1, kReplacement);
  }

  void word() {
    std::size_t end = at_;
    while (end < line_.size() && is_word(line_[end])) ++end;
    const std::string text(line_.substr(at_, end - at_));
    char* stop = nullptr;
    const double value = std::strtod(text.c_str(), &stop);  // it knows NaN and Infinity as well
    if (std::isfinite(value) || *stop != '\0') return copy(text.size());
    ++numbers;
    replace(text.size(), "null");
  }

  std::string_view line_;
  std::size_t at_ = 0;
  bool inside_ = false;  // a string
  std::string out_;
};

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

// Keeps the text of a document, the member "text" of the outermost object, and passes over all else.
class DocumentReader final : public JsonEvents {
 public:
  std::optional<std::string> text;

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_integer(std::int64_t) override { return other(); }
  bool number_unsigned(std::uint64_t) override { return other(); }
  bool number_float(double, const std::string&) override { return other(); }
  bool string(std::string& value) override {
    if (wanted()) text = std::move(value);
    return true;
  }
  bool key(std::string& name) override {
    if (depth_ == 1) is_text_ = name == "text";
    return true;
  }
  bool start_object() override { return other() && ++depth_ > 0; }
  bool end_object() override { return depth_-- > 0; }
  bool start_array() override { return other() && ++depth_ > 0; }
  bool end_array() override { return depth_-- > 0; }

 private:
  bool wanted() const { return depth_ == 1 && is_text_; }
  bool other() {
    if (wanted()) text.reset();
    return true;
  }

  std::size_t depth_ = 0;
  bool is_text_ = false;  // the last key of the outermost object
};

std::optional<JsonFault> read_document(std::string_view line, std::optional<std::string>& text) {
  DocumentReader reader;
  const auto fault = read_json(line, reader);
  text = fault ? std::nullopt : std::move(reader.text);
  return fault;
}

}  // namespace

void MendingLog::add(Oddity oddity, std::int64_t count, const std::string& place) {
  if (count == 0) return;
  Mended& entry = entries_[static_cast<std::size_t>(oddity)];
  if (entry.count == 0) entry.first = place;
  entry.count += count;
}

void MendingLog::add(const MendingLog& later) {
  for (int i = 0; i < kOddities; ++i) {
    const Mended& entry = later.entries_[static_cast<std::size_t>(i)];
    add(static_cast<Oddity>(i), entry.count, entry.first);
  }
}

std::string MendingLog::describe() const {
  std::string text;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto& [count, first] = entries_[i];
    if (count == 0) continue;
    const Words& words = kWords[i];
    text += fmt::format("{}{} {}{} (first: {})", text.empty() ? "" : ", ", count, count == 1 ? words.one : words.many,
                        words.fate, first);
  }
  return text;
}

std::map<std::string, Mended> MendingLog::by_name() const {
  std::map<std::string, Mended> named;
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].count > 0) named[kWords[i].name] = entries_[i];
  return named;
}

void DocumentLog::add(const DocumentLog& later) {
  mended.add(later.mended);
  lines += later.lines;
  if (first_bad_line.empty()) first_bad_line = later.first_bad_line;
}

void DocumentLog::check(bool at_end) const {
  const std::int64_t bad = mended.count(Oddity::bad_line);
  if (bad * kBadShare <= lines || (!at_end && lines < kEnoughLines)) return;
  throw RunError(
      ExitCode::bad_data,
      fmt::format("{}; each line must be a JSON object with a string \"text\", and {} of the first {} lines are "
                  "not: check that it is the right file",
                  first_bad_line, bad, lines));
}

std::string document_text(std::string_view line, const std::string& label, std::int64_t number, DocumentLog& log) {
  const auto place = [&] { return fmt::format("{}:{}", label, number); };
  if (is_blank(line)) {
    log.mended.add(Oddity::blank_line, 1, place());
    return "";
  }
  ++log.lines;
  Mender mender(line);
  std::optional<std::string> text;
  const auto fault = read_document(line, text);
  const bool is_json = !fault || !read_document(mender.run(), text);
  if (text) {
    log.mended.add(Oddity::lone_surrogate, mender.surrogates, place());
    log.mended.add(Oddity::invalid_utf8, mender.bytes, place());
    log.mended.add(Oddity::odd_number, mender.numbers, place());
    return *std::move(text);
  }
  log.mended.add(Oddity::bad_line, 1, place());
  if (log.first_bad_line.empty())
    log.first_bad_line =
        fmt::format("{}: line {} {}", label, number,
                    is_json ? "has no string \"text\""
                            : fmt::format("is not JSON (byte offset {}: {})", fault->offset, fault->why));
  return "";
}

}  // namespace weir
