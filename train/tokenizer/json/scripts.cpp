#include "train/tokenizer/json/scripts.h"

#include <algorithm>
#include <vector>

#include "train/tokenizer/json/regex.h"

namespace weir {
namespace {

// The scripts of Unicode 9, which are those of the Python package; what is newer is of none there.
constexpr const char* kNames[] = {"adlam",
                                  "ahom",
                                  "anatolianhieroglyphs",
                                  "arabic",
                                  "armenian",
                                  "avestan",
                                  "balinese",
                                  "bamum",
                                  "bassavah",
                                  "batak",
                                  "bengali",
                                  "bhaiksuki",
                                  "bopomofo",
                                  "brahmi",
                                  "braille",
                                  "buginese",
                                  "buhid",
                                  "canadianaboriginal",
                                  "carian",
                                  "caucasianalbanian",
                                  "chakma",
                                  "cham",
                                  "cherokee",
                                  "common",
                                  "coptic",
                                  "cuneiform",
                                  "cypriot",
                                  "cyrillic",
                                  "deseret",
                                  "devanagari",
                                  "duployan",
                                  "egyptianhieroglyphs",
                                  "elbasan",
                                  "ethiopic",
                                  "georgian",
                                  "glagolitic",
                                  "gothic",
                                  "grantha",
                                  "greek",
                                  "gujarati",
                                  "gurmukhi",
                                  "han",
                                  "hangul",
                                  "hanunoo",
                                  "hatran",
                                  "hebrew",
                                  "hiragana",
                                  "imperialaramaic",
                                  "inherited",
                                  "inscriptionalpahlavi",
                                  "inscriptionalparthian",
                                  "javanese",
                                  "kaithi",
                                  "kannada",
                                  "katakana",
                                  "kayahli",
                                  "kharoshthi",
                                  "khmer",
                                  "khojki",
                                  "khudawadi",
                                  "lao",
                                  "latin",
                                  "lepcha",
                                  "limbu",
                                  "lineara",
                                  "linearb",
                                  "lisu",
                                  "lycian",
                                  "lydian",
                                  "mahajani",
                                  "malayalam",
                                  "mandaic",
                                  "manichaean",
                                  "marchen",
                                  "meeteimayek",
                                  "mendekikakui",
                                  "meroiticcursive",
                                  "meroitichieroglyphs",
                                  "miao",
                                  "modi",
                                  "mongolian",
                                  "mro",
                                  "multani",
                                  "myanmar",
                                  "nabataean",
                                  "newtailue",
                                  "newa",
                                  "nko",
                                  "ogham",
                                  "olchiki",
                                  "oldhungarian",
                                  "olditalic",
                                  "oldnortharabian",
                                  "oldpermic",
                                  "oldpersian",
                                  "oldsoutharabian",
                                  "oldturkic",
                                  "oriya",
                                  "osage",
                                  "osmanya",
                                  "pahawhhmong",
                                  "palmyrene",
                                  "paucinhau",
                                  "phagspa",
                                  "phoenician",
                                  "psalterpahlavi",
                                  "rejang",
                                  "runic",
                                  "samaritan",
                                  "saurashtra",
                                  "sharada",
                                  "shavian",
                                  "siddham",
                                  "signwriting",
                                  "sinhala",
                                  "sorasompeng",
                                  "sundanese",
                                  "sylotinagri",
                                  "syriac",
                                  "tagalog",
                                  "tagbanwa",
                                  "taile",
                                  "taitham",
                                  "taiviet",
                                  "takri",
                                  "tamil",
                                  "tangut",
                                  "telugu",
                                  "thaana",
                                  "thai",
                                  "tibetan",
                                  "tifinagh",
                                  "tirhuta",
                                  "ugaritic",
                                  "vai",
                                  "warangciti",
                                  "yi"};

struct Range {
  std::uint32_t first, last;
  int script;
};

std::vector<Range> all_ranges() {
  std::vector<Range> ranges;
  int han = 0, next = 1;
  for (const std::string_view name : kNames) {
    const bool japanese = name == "hiragana" || name == "katakana";  // they come after Han
    const int script = japanese ? han : next++;
    if (name == "han") han = script;
    for (const auto& [first, last] : property_ranges(name)) ranges.push_back({first, last, script});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  return ranges;
}

}  // namespace

int script_of(std::uint32_t c) {
  static const std::vector<Range> ranges = all_ranges();
  if (c == ' ') return 0;
  if (c == 0x30fc) return script_of(0x3042);  // the mark of a long vowel, which is common to several scripts
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](std::uint32_t value, const Range& range) { return value < range.first; });
  return after != ranges.begin() && c <= std::prev(after)->last ? std::prev(after)->script : 0;
}

}  // namespace weir
