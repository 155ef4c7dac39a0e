#include "train/tokenizer/json/regex.h"

#include <fmt/format.h>
#include <oniguruma.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "train/tokenizer/json/unicode.h"

namespace weir {
namespace {

constexpr std::size_t kMaxExpression = 16384;  // bytes
constexpr unsigned kMaxParseDepth = 1024;      // groups and classes within one another
constexpr unsigned kMaxChoices = 1u << 23;     // remembered at a time, 40 bytes each
// Going back on a choice, of a search at first: more is allowed as long as the thread has not computed for so long.
constexpr unsigned long kRetries = 256;
constexpr double kSeconds = 0.1, kSecondsPerByte = 5e-6;
constexpr std::size_t kRun = 1024, kWorthARun = 4;  // matches of a run: at most, and for another to be tried

const OnigUChar* bytes(std::string_view text) { return reinterpret_cast<const OnigUChar*>(text.data()); }

// UTF-8 as Oniguruma has it, but with the punctuation of its versions from 6.9.9 on, which is what the package has:
// [[:punct:]] and \p{PosixPunct} hold all of \p{P} and \p{S}, and \p{Punct} is \p{P} alone. Of version 6.9.8, each of
// the three holds \p{P} and the nine symbols of ASCII, and \p{PosixPunct} is unknown.
class Encoding {
 public:
  static OnigEncoding get() {
    static Encoding encoding;
    return &encoding.type_;
  }

 private:
  Encoding() : type_(*ONIG_ENCODING_UTF8) {
    OnigEncoding known[] = {ONIG_ENCODING_UTF8};
    onig_initialize(known, 1);
    onig_set_parse_depth_limit(kMaxParseDepth);
    type_.property_name_to_ctype = property;
    type_.get_ctype_code_range = code_range;
    std::vector<std::array<OnigCodePoint, 2>> ranges = property_ranges("P");
    for (const auto& range : property_ranges("S")) ranges.push_back(range);
    std::sort(ranges.begin(), ranges.end());
    punctuation() = {static_cast<OnigCodePoint>(ranges.size())};
    for (const auto& [first, last] : ranges) punctuation().insert(punctuation().end(), {first, last});
  }

  // A count, and so many first and last code points.
  static std::vector<OnigCodePoint>& punctuation() {
    static std::vector<OnigCodePoint> ranges;
    return ranges;
  }

  // As it is looked up: case, spaces, hyphens and underscores do not count.
  static int property(OnigEncoding encoding, OnigUChar* begin, OnigUChar* end) {
    std::string name;
    for (const OnigUChar* at = begin; at < end; ++at)
      if (*at != ' ' && *at != '-' && *at != '_') name += static_cast<char>(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
    if (name == "posixpunct") return ONIGENC_CTYPE_PUNCT;
    if (name != "punct") return ONIG_ENCODING_UTF8->property_name_to_ctype(encoding, begin, end);
    OnigUChar alone[] = {'P'};
    return ONIG_ENCODING_UTF8->property_name_to_ctype(encoding, alone, alone + 1);
  }

  static int code_range(OnigCtype ctype, OnigCodePoint* single_bytes, const OnigCodePoint* ranges[]) {
    const int result = ONIG_ENCODING_UTF8->get_ctype_code_range(ctype, single_bytes, ranges);
    if (result == 0 && ctype == ONIGENC_CTYPE_PUNCT) *ranges = punctuation().data();
    return result;
  }

  OnigEncodingType type_;
};

std::string message_of(int error, OnigErrorInfo* information) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> text{};
  const int size = onig_error_code_to_str(text.data(), error, information);
  return printable(std::string(reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size)));
}

// What a search needs besides the expression; one for each thread.
struct Workspace {
  OnigRegion* const region;
  OnigMatchParam* const limits;

  // Delegates, so that the destructor runs where one of the two was refused.
  Workspace() : Workspace(onig_region_new(), onig_new_match_param()) {
    if (region == nullptr || limits == nullptr) throw std::bad_alloc();
    onig_initialize_match_param(limits);
    onig_set_match_stack_limit_size_of_match_param(limits, kMaxChoices);
  }
  Workspace(OnigRegion* of_matches, OnigMatchParam* parameters) : region(of_matches), limits(parameters) {}
  ~Workspace() {
    onig_region_free(region, 1);
    onig_free_match_param(limits);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

bool is_retry_limit(int result) {
  return result == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER || result == ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER;
}

struct Freed {
  void operator()(OnigRegex code) const { onig_free(code); }
};
using Code = std::unique_ptr<std::remove_pointer_t<OnigRegex>, Freed>;

int compile(const std::string& expression, Code& code, OnigErrorInfo* information) {
  static std::mutex one_at_a_time;  // compiling looks into tables of the library that are not locked
  const std::lock_guard lock(one_at_a_time);
  OnigRegex compiled = nullptr;
  const OnigUChar* const begin = bytes(expression);
  const int result = onig_new(&compiled, begin, begin + expression.size(), ONIG_OPTION_NONE, Encoding::get(),
                              ONIG_SYNTAX_ONIGURUMA, information);
  code.reset(compiled);
  if (result == ONIGERR_MEMORY) throw std::bad_alloc();
  return result;
}

// Whether a match can depend on the match before it when both are found in one go: through groups that it refers to,
// and what belongs to a search as a whole.
bool looks_back_at_matches(std::string_view expression) {
  for (const char* sign : {"\\k", "\\g", "\\G", "\\K", "(?~", "(?{", "(*"})
    if (expression.find(sign) != std::string_view::npos) return true;
  for (char digit = '1'; digit <= '9'; ++digit)
    if (expression.find(std::string{'\\', digit}) != std::string_view::npos) return true;
  return false;
}

// Version 6.9.8 gets conditions wrong, and with them \R, which is one: it does not find what it does not believe to be
// long enough. So \R is written out; in a class, it is the letter.
std::string without_conditions(std::string_view expression) {
  constexpr std::string_view kLineEnd = R"((?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}]))";
  std::string written;
  std::size_t classes = 0;  // that are open
  for (std::size_t at = 0; at < expression.size();) {
    const std::string_view rest = expression.substr(at);
    std::size_t taken = 1;
    if (rest[0] == '\\') {
      taken = std::min<std::size_t>(2, rest.size());
    } else if (rest.starts_with("[:") && classes > 0) {
      taken = 2;  // of a named class, whose end is that of no other
      ++classes;
    } else if (rest[0] == '[') {
      taken = rest.starts_with("[^]") ? 3 : rest.starts_with("[]") ? 2 : 1;  // a ] that comes first is a member
      ++classes;
    } else if (rest[0] == ']' && classes > 0) {
      --classes;
    } else if (rest.starts_with("(?#") && classes == 0) {
      taken = std::min(rest.find(')'), rest.size());
    }
    written += classes == 0 && rest.starts_with("\\R") ? kLineEnd : rest.substr(0, taken);
    at += taken;
  }
  return written;
}

}  // namespace

std::vector<std::array<std::uint32_t, 2>> property_ranges(std::string_view name) {
  auto* const begin = const_cast<OnigUChar*>(bytes(name));
  const int ctype = ONIG_ENCODING_UTF8->property_name_to_ctype(ONIG_ENCODING_UTF8, begin, begin + name.size());
  const OnigCodePoint* table = nullptr;  // a count, and so many first and last code points
  OnigCodePoint unused = 0;
  if (ctype < 0 || ONIG_ENCODING_UTF8->get_ctype_code_range(static_cast<OnigCtype>(ctype), &unused, &table) != 0)
    throw InternalError(fmt::format("Oniguruma does not know the property {}", name));
  std::vector<std::array<std::uint32_t, 2>> ranges;
  for (OnigCodePoint i = 0; i < table[0]; ++i) ranges.push_back({table[1 + 2 * i], table[2 + 2 * i]});
  return ranges;
}

struct Regex::Program {
  Code one;  // the expression
  Code run;  // a run of its matches, each of which calls back; null: cannot be had
};

Regex::Regex(std::string where, std::string expression)
    : where_(std::move(where)), expression_(std::move(expression)), program_(std::make_unique<Program>()) {
  if (expression_.size() > kMaxExpression)
    throw RunError(ExitCode::bad_data, fmt::format("{}: the pattern has {} bytes, at most {} are allowed", where_,
                                                   expression_.size(), kMaxExpression));
  if (expression_.find("(?(") != std::string::npos)
    throw RunError(ExitCode::bad_data, fmt::format("{}: the pattern {} has a condition, (?(...)...), which is not "
                                                   "supported; write it without",
                                                   where_, quote_short(expression_)));
  const std::string written = without_conditions(expression_);
  OnigErrorInfo information{};
  if (const int result = compile(written, program_->one, &information); result != ONIG_NORMAL)
    throw RunError(ExitCode::bad_data, fmt::format("{}: the pattern {} cannot be compiled: {}; correct it", where_,
                                                   quote_short(expression_), message_of(result, &information)));
  if (looks_back_at_matches(expression_)) return;
  if (compile("(?:(?>" + written + ")(?{}))*+", program_->run, &information) != ONIG_NORMAL) program_->run = nullptr;
}

Regex::~Regex() = default;

// The state of find_all.
struct Regex::Search {
  const Regex& regex;
  std::string_view text;
  std::vector<Match> matches{};
  std::size_t from = 0;  // where to look for the next match
  bool empty = false;    // whether the last run came to an empty match
  double started = -1;   // when it first took long; -1: not yet

  const OnigUChar* at(std::size_t offset) const { return bytes(text) + offset; }

  void all() {
    matches.reserve(text.size() / 4 + 8);
    bool runs = regex.program_->run != nullptr;
    while (from <= text.size()) {
      if (runs) runs = run();
      if (from == text.size() && runs && !empty) break;  // the run has looked at the end already
      if (!next()) break;
    }
  }

  // Matches that follow on one another, found at once: to set up a search takes longer than to match a word. Whether
  // it is worth it to try again.
  bool run() {
    const std::size_t before = matches.size();
    OnigMatchParam* const limits = workspace().limits;
    onig_set_progress_callout_of_match_param(limits, matched);
    onig_set_callout_user_data_of_match_param(limits, this);
    limit(kRetries + 64 * (text.size() - from));
    for (;;) {
      empty = false;
      const int result = onig_match_with_param(regex.program_->run.get(), at(0), at(text.size()), at(from), nullptr,
                                               ONIG_OPTION_NONE, limits);
      if (result == ONIG_ABORT) {
        check_time();
        continue;
      }
      if (is_retry_limit(result)) return false;
      if (result < 0) fail(result);
      return matches.size() - before >= kWorthARun;
    }
  }

  static int matched(OnigCalloutArgs* arguments, void* user_data) {
    Search& search = *static_cast<Search*>(user_data);
    const auto end = static_cast<std::size_t>(onig_get_current_by_callout_args(arguments) - search.at(0));
    if (end == search.from) {
      search.empty = true;
      return ONIG_CALLOUT_FAIL;
    }
    search.matches.push_back({search.from, end});
    search.from = end;
    return search.matches.size() % kRun == 0 ? ONIG_ABORT : ONIG_CALLOUT_SUCCESS;
  }

  // The next match, wherever it is.
  bool next() {
    OnigRegion* const region = workspace().region;
    const int result = search(region);
    if (result == ONIG_MISMATCH) return false;
    if (result < 0) fail(result);
    const Match match{static_cast<std::size_t>(region->beg[0]), static_cast<std::size_t>(region->end[0])};
    if (match.begin == match.end && !matches.empty() && match.end == matches.back().end) {
      if (from == text.size()) return false;
      next_code_point(text, from);
    } else {
      matches.push_back(match);
      from = match.end;
      if (matches.size() % kRun == 0) check_time();
    }
    return true;
  }

  // What it may go back on grows until the time is up.
  int search(OnigRegion* region) {
    for (unsigned long retries = kRetries;; retries *= 2) {
      limit(retries);
      const int result = onig_search_with_param(regex.program_->one.get(), at(0), at(text.size()), at(from),
                                                at(text.size()), region, ONIG_OPTION_NONE, workspace().limits);
      if (!is_retry_limit(result)) return result;
      check_time();
    }
  }

  void check_time() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    const double seconds = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
    if (started < 0) started = seconds;
    if (seconds - started > kSeconds + kSecondsPerByte * static_cast<double>(text.size()))
      fail(ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER);
  }

  static const Workspace& workspace() {
    static thread_local const Workspace instance;
    return instance;
  }

  static void limit(unsigned long retries) {
    onig_set_retry_limit_in_match_of_match_param(workspace().limits, retries);
    onig_set_retry_limit_in_search_of_match_param(workspace().limits, retries);
  }

  [[noreturn]] void fail(int result) const {
    const std::string why = is_retry_limit(result) ? "takes too long" : "fails (" + message_of(result, nullptr) + ")";
    const char* const remedy = result == ONIGERR_MATCH_STACK_LIMIT_OVER ? "encode the text line by line"
                                                                        : "write it without nested repetition";
    throw RunError(ExitCode::bad_data, fmt::format("{}: the pattern {} {} on a text of {} bytes; {}", regex.where_,
                                                   quote_short(regex.expression_), why, text.size(), remedy));
  }
};

std::vector<Regex::Match> Regex::find_all(std::string_view text) const {
  Search search{*this, text};
  search.all();
  return std::move(search.matches);
}

}  // namespace weir
