// tokenizer.json: what small files make of small texts, worked out by hand, and what must be refused. That the tokens
// are those of other programs on real texts is the business of tests/tokenizers.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/philox.h"
#include "tests/unit/temporary_directory.h"
#include "train/tokenizer/tokenizer.h"

using namespace weir;
using Json = nlohmann::json;

namespace {

std::unique_ptr<Tokenizer> open_text(const std::string& text) {
  const TemporaryDirectory directory;
  const std::string path = directory / "t.json";
  std::ofstream(path, std::ios::binary) << text;
  return open_tokenizer(path);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The message of a refusal behind the path.
std::string open_error(const std::string& text) {
  const std::string message = error_of([&] { open_text(text); });
  const std::size_t at = message.find("/t.json: ");
  return at == std::string::npos ? message : message.substr(at + 9);
}

const std::string kDamaged = "; the file is damaged or not a tokenizer.json: fetch or export it again";

// "hello" and "hell" from merges; a and b are known characters.
Json bpe() {
  return {
      {"version", "1.0"},
      {"model",
       {{"type", "BPE"},
        {"unk_token", nullptr},
        {"vocab",
         {{"h", 0}, {"e", 1}, {"l", 2}, {"o", 3}, {"he", 4}, {"ll", 5}, {"hell", 6}, {"hello", 7}, {"a", 8}, {"b", 9}}},
        {"merges", Json::array({Json::array({"h", "e"}), Json::array({"l", "l"}), "he ll", "hell o"})}}}};
}

Json unigram() {
  return {
      {"version", "1.0"},
      {"model",
       {{"type", "Unigram"},
        {"unk_id", 0},
        {"vocab", Json::array({Json::array({"<unk>", 0}), Json::array({"a", -1.5}), Json::array({"b", -1.0}),
                               Json::array({"ab", -2.0}), Json::array({"abb", -4.0}), Json::array({"▁", -1.0})})}}}};
}

Json with(Json file, const std::string& key, const Json& value) {
  file[Json::json_pointer(key)] = value;
  return file;
}

std::vector<std::int32_t> encode(const Json& file, const std::string& text) {
  return open_text(file.dump())->encode(text);
}

std::string pieces(const Json& file, const std::string& text) {
  const auto tokenizer = open_text(file.dump());
  std::string result;
  for (const std::int32_t token : tokenizer->encode(text)) result += tokenizer->piece(token) + "|";
  return result;
}

// What the normalizers and pre-tokenizers make of a text: a model without merges that knows every character by itself
// shows words only by what added tokens and unigram pieces cannot join, so words are counted with a suffix instead.
std::string words(const Json& pre_tokenizer, const std::string& text, const Json& normalizer = nullptr) {
  Json vocabulary;
  std::int32_t next = 0;
  const auto add = [&](const std::string& piece) {
    if (!vocabulary.contains(piece)) vocabulary[piece] = next++;
  };
  for (std::uint32_t c = 1; c < 0x3100; ++c) {
    std::string character;
    if (c < 0x80) {
      character = static_cast<char>(c);
    } else if (c < 0x800) {
      character = {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
    } else {
      character = {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                   static_cast<char>(0x80 | (c & 0x3f))};
    }
    add(character);
    add(character + "<>");
  }
  const Json file{
      {"version", "1.0"},
      {"normalizer", normalizer},
      {"pre_tokenizer", pre_tokenizer},
      {"decoder", {{"type", "BPEDecoder"}, {"suffix", "<>"}}},
      {"model", {{"type", "BPE"}, {"end_of_word_suffix", "<>"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  const auto tokenizer = open_text(file.dump());
  std::string result;
  for (const std::int32_t token : tokenizer->encode(text)) {
    std::string piece = tokenizer->piece(token);
    if (piece.ends_with("<>")) piece.replace(piece.size() - 2, 2, "|");
    result += piece;
  }
  return result;
}

std::string normalized(const Json& normalizer, const std::string& text) {
  const std::string result = words(nullptr, text, normalizer);
  return result.substr(0, result.size() - (result.empty() ? 0 : 1));
}

Json sequence(const char* key, const std::vector<Json>& parts) { return {{"type", "Sequence"}, {key, parts}}; }

}  // namespace

TEST_CASE("tokenizer.json: BPE merges the pair of the lowest rank first") {
  using Tokens = std::vector<std::int32_t>;
  CHECK(encode(bpe(), "hello") == Tokens{7});
  CHECK(encode(bpe(), "hellohell") == Tokens{7, 6});
  CHECK(encode(bpe(), "ehlol") == Tokens{1, 0, 2, 3, 2});
  CHECK(encode(bpe(), "") == Tokens{});
  CHECK(encode(bpe(), "llll") == Tokens{5, 5});
  CHECK(encode(bpe(), "lllo") == Tokens{5, 2, 3});
  CHECK(encode(bpe(), "a?b") == Tokens{8, 9});  // without an unknown token, what is unknown vanishes
  const auto tokenizer = open_text(bpe().dump());
  CHECK(tokenizer->vocabulary() == 10);
  CHECK(tokenizer->describe() == "tokenizer.json, BPE, 10 pieces");
  CHECK(tokenizer->decode(std::vector{7, 8}) == "hello a");  // without a decoder, pieces are words
}

TEST_CASE("tokenizer.json: BPE and what it does not know") {
  using Tokens = std::vector<std::int32_t>;
  Json file = with(bpe(), "/model/unk_token", "a");
  CHECK(encode(file, "h??h") == Tokens{0, 8, 8, 0});
  CHECK(encode(with(file, "/model/fuse_unk", true), "h??h?") == Tokens{0, 8, 0, 8});
  file["model"]["byte_fallback"] = true;
  file["model"]["vocab"]["<0xC3>"] = 10;
  file["model"]["vocab"]["<0xA9>"] = 11;
  CHECK(encode(file, "hé?") == Tokens{0, 10, 11, 8});
  CHECK(encode(file, "h\xff") == Tokens{0, 8});  // not UTF-8: U+FFFD, whose bytes have no tokens
  CHECK(encode(with(with(bpe(), "/model/vocab/hall", 10), "/model/ignore_merges", true), "hall") == Tokens{10});
}

TEST_CASE("tokenizer.json: BPE with marks inside and at the end of words") {
  const Json prefixed = {{"version", "1.0"},
                         {"model",
                          {{"type", "BPE"},
                           {"continuing_subword_prefix", "##"},
                           {"vocab", {{"a", 0}, {"##b", 1}, {"ab", 2}, {"##a", 3}}},
                           {"merges", {"a ##b"}}}}};
  CHECK(pieces(prefixed, "abab") == "ab|##a|##b|");
}

TEST_CASE("tokenizer.json: unigram takes the best sum") {
  using Tokens = std::vector<std::int32_t>;
  CHECK(encode(unigram(), "ab") == Tokens{3});      // -2 against -2.5
  CHECK(encode(unigram(), "abb") == Tokens{3, 2});  // -3 against -4
  CHECK(encode(unigram(), "ba") == Tokens{2, 1});
  CHECK(encode(unigram(), "a??b?") == Tokens{1, 0, 2, 0});  // unknown neighbours are one
  Json file = unigram();
  file["model"]["unk_id"] = nullptr;
  CHECK(
      error_of([&] { encode(file, "a?"); })
          .ends_with("t.json: model: the character '?' is not in the vocabulary and unk_id is not set; use a tokenizer "
                     "made for such text"));
  file = unigram();
  file["model"]["byte_fallback"] = true;
  for (int byte = 0; byte < 256; ++byte)
    file["model"]["vocab"].push_back(Json::array({fmt::format("<0x{:02X}>", byte), -20}));
  CHECK(pieces(file, "aé") == "a|<0xC3>|<0xA9>|");
}

TEST_CASE("tokenizer.json: normalizers") {
  CHECK(normalized({{"type", "NFC"}}, "e\u0301") == "é");
  CHECK(normalized({{"type", "NFD"}}, "é") == "e\u0301");
  CHECK(normalized({{"type", "NFKC"}}, "ﬁ①") == "fi1");
  CHECK(normalized({{"type", "NFKD"}}, "é①") == "e\u03011");
  CHECK(normalized({{"type", "Lowercase"}}, "ÀİB") == "ài\u0307b");
  CHECK(normalized(sequence("normalizers", {{{"type", "NFD"}}, {{"type", "StripAccents"}}}), "éàç") == "eac");
  CHECK(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}, " \u3000a ") == "a ");
  CHECK(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, " \u3000 ") == "");
  CHECK(normalized({{"type", "Prepend"}, {"prepend", "xy"}}, "a") == "xya");
  CHECK(normalized({{"type", "Prepend"}, {"prepend", "xy"}}, "") == "");
  CHECK(normalized({{"type", "Replace"}, {"pattern", {{"String", "aa"}}}, {"content", "b"}}, "aaaa.a") == "bb.a");
  CHECK(normalized({{"type", "Replace"}, {"pattern", {{"Regex", "[0-9]+"}}}, {"content", "#"}}, "a12b3") == "a#b#");
  CHECK(normalized({{"type", "Replace"}, {"pattern", {{"Regex", "x*"}}}, {"content", "-"}}, "axb") == "-a-b-");
  CHECK(normalized({{"type", "Nmt"}}, "a\tb\u200bc\x01") == "a b c");
  CHECK(normalized({{"type", "ByteLevel"}}, "é ") == "Ã©Ġ");
}

TEST_CASE("tokenizer.json: pre-tokenizers") {
  const auto split = [](const Json& pattern, const char* behavior, bool invert = false) {
    return Json{{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
  };
  const std::string text = "the-final--countdown";
  CHECK(words(split({{"String", "-"}}, "Removed"), text) == "the|final|countdown|");
  CHECK(words(split({{"String", "-"}}, "Isolated"), text) == "the|-|final|-|-|countdown|");
  CHECK(words(split({{"String", "-"}}, "MergedWithPrevious"), text) == "the-|final-|-|countdown|");
  CHECK(words(split({{"String", "-"}}, "MergedWithNext"), text) == "the|-final|-|-countdown|");
  CHECK(words(split({{"String", "-"}}, "Contiguous"), text) == "the|-|final|--|countdown|");
  CHECK(words(split({{"Regex", "[a-z]+"}}, "Removed", true), text) == "the|final|countdown|");
  CHECK(words({{"type", "Whitespace"}}, " it's 3.5\u3000x") == "it|'|s|3|.|5|x|");
  CHECK(words({{"type", "WhitespaceSplit"}}, " it's \n3.5 ") == "it's|3.5|");
  CHECK(words({{"type", "Digits"}, {"individual_digits", true}}, "a12") == "a|1|2|");
  CHECK(words({{"type", "Digits"}, {"individual_digits", false}}, "a12b") == "a|12|b|");
  CHECK(words({{"type", "Punctuation"}}, "a,b…c$") == "a|,|b|…|c|$|");
  CHECK(words({{"type", "ByteLevel"}, {"add_prefix_space", true}}, "it's  é 12") == "Ġit|'s|Ġ|ĠÃ©|Ġ12|");
  CHECK(words({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}, "a b") == "aĠb|");
  const auto metaspace = [](const char* scheme) {
    return Json{{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", scheme}};
  };
  CHECK(words(metaspace("always"), "a  b") == "_a|_|_b|");
  CHECK(words(metaspace("never"), "a b") == "a|_b|");
  const auto after_split = [&](const char* scheme) {
    return sequence("pretokenizers", {{{"type", "WhitespaceSplit"}}, metaspace(scheme)});
  };
  CHECK(words(after_split("always"), "a b") == "_a|_b|");
  CHECK(words(after_split("first"), "a b") == "_a|b|");
  // The first character of the text may become several words, and all of them are first.
  CHECK(words(after_split("first"), "\u0385x", {{"type", "NFKC"}}) == "_\u0308\u0301x|");
}

TEST_CASE("tokenizer.json: patterns mean what they mean in Ruby") {
  const auto cut = [](const char* pattern, const std::string& text) {
    return words({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
                 text);
  };
  CHECK(cut(R"(\s+)", "a\u180eb\u2003c") == "a\u180eb|\u2003|c|");  // U+180E is no space any more
  CHECK(cut(R"(\h+)", "xyzabf0g") == "xyz|abf0|g|");                // hexadecimal digits
  CHECK(cut(R"(^b)", "a\nb") == "a\n|b|");
  CHECK(cut(R"(\u0062{,2})", "abbbc").find("bb|") != std::string::npos);
  CHECK(cut(R"((?i:'S))", "it's") == "it|'s|");
  CHECK(cut(R"([\w]+)", "a\u200d-Ⅻ") == "a|\u200d-|Ⅻ|");
  const auto refused = [&](const char* pattern) { return error_of([&] { cut(pattern, "a"); }); };
  CHECK(refused(R"(\bword\b)")
            .ends_with("pre_tokenizer.pattern.Regex: the pattern \"\\\\bword\\\\b\" uses \\b, which is not supported"));
  CHECK(refused("[a[b]]").ends_with("uses a class in a class, which is not supported"));
  CHECK(refused("[a&&b]").ends_with("uses && in a class, which is not supported"));
  CHECK(refused("(?m:a)").ends_with("uses (?m, which is not supported"));
  CHECK(refused(R"([\W])").ends_with(R"(uses \W in a class, which is not supported)"));
  CHECK(refused("a{2}+").ends_with("uses {}+, which is not supported"));
  CHECK(refused("(a").ends_with("the pattern \"(a\" cannot be compiled: missing closing parenthesis; correct it"));
  CHECK(refused(std::string(20000, 'a').c_str()).ends_with("the pattern has 20000 bytes, at most 16384 are allowed"));
  CHECK(refused("(((a{1,1000}){1,1000}){1,1000})").find("cannot be compiled: ") != std::string::npos);
}

TEST_CASE("tokenizer.json: a pattern that would take for ever is stopped and named") {
  const Json file =
      with(bpe(), "/pre_tokenizer",
           {{"type", "Split"}, {"pattern", {{"Regex", "(a+)+$"}}}, {"behavior", "Isolated"}, {"invert", false}});
  const std::string message = error_of([&] { encode(file, std::string(60, 'a') + "b"); });
  CHECK(message.find("t.json: pre_tokenizer.pattern.Regex: the pattern \"(a+)+$\" takes too long on a text of 61 "
                     "bytes: match limit exceeded; "
                     "write it without nested repetition") != std::string::npos);
}

TEST_CASE("tokenizer.json: decoders") {
  const auto decoded = [](const Json& decoder, const std::vector<std::string>& pieces) {
    Json vocabulary;
    std::vector<std::int32_t> tokens;
    for (const std::string& piece : pieces) {
      if (!vocabulary.contains(piece)) vocabulary[piece] = vocabulary.size();
      tokens.push_back(vocabulary[piece]);
    }
    const Json file{{"version", "1.0"},
                    {"decoder", decoder},
                    {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
    return open_text(file.dump())->decode(tokens);
  };
  CHECK(decoded({{"type", "ByteLevel"}}, {"Ġa", "Ã", "©", "Ã"}) == " aé\ufffd");
  CHECK(decoded({{"type", "ByteLevel"}}, {"日"}) == "日");
  CHECK(decoded({{"type", "Metaspace"}, {"replacement", "▁"}}, {"▁a", "▁b"}) == "a b");
  CHECK(decoded({{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}}, {"▁a", "▁b"}) == " a b");
  CHECK(decoded({{"type", "ByteFallback"}}, {"a", "<0xC3>", "<0xa9>", "b", "<0xFF>"}) == "aéb\ufffd");
  CHECK(decoded({{"type", "BPEDecoder"}, {"suffix", "</w>"}}, {"a", "b</w>", "c</w>"}) == "ab c");
  CHECK(decoded(sequence("decoders", {{{"type", "Replace"}, {"pattern", {{"String", "_"}}}, {"content", " "}},
                                      {{"type", "Fuse"}},
                                      {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 9}}}),
                {"_", "_a", "_"}) == " a");
}

TEST_CASE("tokenizer.json: added tokens and their flags") {
  const auto added = [](const char* content, int id, const Json& flags) {
    Json token{{"id", id}, {"content", content}, {"normalized", false}, {"special", false}};
    token.update(flags);
    return token;
  };
  Json file = with(bpe(), "/normalizer", {{"type", "Lowercase"}});
  file["added_tokens"] =
      Json::array({added("<A>", 10, {{"special", true}}), added("<A>B", 11, Json::object()),
                   added("<L>", 12, {{"lstrip", true}, {"rstrip", true}}), added("<W>", 13, {{"single_word", true}}),
                   added("HALLO", 14, {{"normalized", true}}), added("hello", 7, Json::object())});
  CHECK(pieces(file, "a<A>b") == "a|<A>|b|");
  CHECK(pieces(file, "a<A>B") == "a|<A>B|");  // the longest
  CHECK(pieces(file, "a<a>b") == "a|a|b|");   // not normalized: only as it is written
  CHECK(pieces(file, "a  <L> \u3000b") == "a|<L>|b|");
  CHECK(pieces(file, "a<W>") == "a|");  // not a word alone; its signs are unknown to the model
  CHECK(pieces(file, "a <W>") == "a|<W>|");
  CHECK(pieces(file, "hALLo") == "hallo|");  // looked for after normalising, and so it is written
  CHECK(pieces(file, "hello") == "hello|");
  const auto tokenizer = open_text(file.dump());
  CHECK(tokenizer->vocabulary() == 15);
  CHECK(tokenizer->decode(std::vector{8, 10, 12}) == "a <L>");  // special tokens are left out
  const auto refused = [&](const Json& token) {
    return open_error(with(bpe(), "/added_tokens", Json::array({token})).dump());
  };
  CHECK(refused(added("<A>", 12, Json::object())) ==
        "added_tokens[0]: '<A>' has the id 12, but 10 is the one that follows the ids before it" + kDamaged);
  CHECK(refused(added("hello", 10, Json::object())) ==
        "added_tokens[0]: 'hello' has the id 10, but 7 is the one that the model gives it" + kDamaged);
  CHECK(refused(added("", 10, Json::object())) ==
        "added_tokens[0]: content has 0 bytes, expected 1 to 4096" + kDamaged);
  CHECK(refused(added("x", -1, Json::object())) == "added_tokens[0].id: -1 is not between 0 and 4194303" + kDamaged);
  file["added_tokens"].push_back(added("<A>", 15, Json::object()));
  CHECK(open_error(file.dump()) == "added_tokens[6]: '<A>' is there twice" + kDamaged);
}

// As the package tokenizers 0.23.3 has it; its own trainer writes such files where a text holds a special token.
TEST_CASE("tokenizer.json: of a piece that is there twice, text becomes the later one") {
  using Tokens = std::vector<std::int32_t>;
  Json file = unigram();
  for (const auto& [piece, score] : {std::pair{"ab", -9.0}, {"b", -0.5}, {"<unk>", -3.0}})
    file["model"]["vocab"].push_back(Json::array({piece, score}));
  file["added_tokens"].push_back({{"content", "<unk>"}, {"id", 0}, {"special", true}});
  CHECK(encode(file, "ab") == Tokens{1, 7});
  CHECK(encode(file, "a?b<unk>") == Tokens{1, 0, 7, 8});
  const auto tokenizer = open_text(file.dump());
  CHECK(tokenizer->vocabulary() == 9);
  CHECK(tokenizer->piece(0) == "<unk>");
  CHECK(tokenizer->piece(8) == "<unk>");
  CHECK(tokenizer->decode(std::vector{1, 0, 3, 6, 8}) == "a ab ab");
}

TEST_CASE("tokenizer.json: what only moves or adds special tokens has no effect") {
  Json file = bpe();
  file["post_processor"] = sequence("processors", {{{"type", "ByteLevel"}}, {{"type", "TemplateProcessing"}}});
  file["truncation"] = {{"max_length", 1}};
  CHECK(encode(file, "aab").size() == 3);
}

TEST_CASE("tokenizer.json: components that are not supported are named with their place") {
  const auto refused = [](const std::string& key, const Json& value) {
    return open_error(with(bpe(), key, value).dump());
  };
  CHECK(refused("/model/type", "WordPiece") ==
        "model: unsupported component 'WordPiece'; supported here: BPE, Unigram");
  CHECK(refused("/normalizer", {{"type", "BertNormalizer"}})
            .starts_with("normalizer: unsupported component 'BertNormalizer'; supported here: NFC, "));
  CHECK(refused("/pre_tokenizer",
                sequence("pretokenizers", {{{"type", "WhitespaceSplit"}}, {{"type", "UnicodeScripts"}}}))
            .starts_with(
                "pre_tokenizer.pretokenizers[1]: unsupported component 'UnicodeScripts'; supported here: ByteLevel, "));
  CHECK(refused("/decoder", {{"type", "CTC"}}).starts_with("decoder: unsupported component 'CTC'; "));
  CHECK(refused("/post_processor", {{"type", "New"}}).starts_with("post_processor: unsupported component 'New'; "));
  CHECK(refused("/model/dropout", 0.1) == "model.dropout: unsupported component 'dropout 0.1'; supported here: 0");
  CHECK(refused("/pre_tokenizer", {{"type", "Punctuation"}, {"behavior", "Lost"}})
            .starts_with("pre_tokenizer.behavior: unsupported component 'Lost'; supported here: Removed, "));
}

TEST_CASE("tokenizer.json: damaged and hostile files are refused with the place") {
  const auto refused = [](const std::string& key, const Json& value) {
    return open_error(with(bpe(), key, value).dump());
  };
  CHECK(open_error("").find("the file is empty") != std::string::npos);
  CHECK(open_error("{\"version\": \"1.0\"").starts_with("not valid JSON (byte offset 17): syntax error"));
  CHECK(open_error("{\"a\": \"\xff\"}").starts_with("not valid JSON (byte offset 7): syntax error"));
  CHECK(open_error(std::string("{}\0{}", 5)) == "not valid JSON (byte offset 2): a zero byte" + kDamaged);
  CHECK(open_error("[1]") == "expected an object, found a list" + kDamaged);
  CHECK(open_error("{\"version\": \"1.0\", \"version\": \"1.0\"}") ==
        "the key 'version' appears twice in one object" + kDamaged);
  CHECK(open_error(std::string(100'000, '[')) == "nested deeper than 32 levels" + kDamaged);
  CHECK(open_error("{}") == "'version' is missing" + kDamaged);
  CHECK(refused("/version", "2.0") == "version: expected '1.0', found '2.0'" + kDamaged);
  CHECK(refused("/version", 1) == "version: expected a text, found a whole number" + kDamaged);
  CHECK(open_error("{\"version\": \"1.0\"}") == "'model' is missing" + kDamaged);
  CHECK(refused("/model/merges/2", "he xx") == "model.merges[2]: 'xx' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/merges/2", "he l") == "model.merges[2]: 'hel' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/merges/2", "hell") ==
        "model.merges[2]: expected two pieces with a space between them" + kDamaged);
  CHECK(refused("/model/merges/2", Json::array({"a"})) == "model.merges[2]: expected two pieces" + kDamaged);
  CHECK(refused("/model/merges/2", Json::array({"a", 1})) ==
        "model.merges[2][1]: expected a text, found a whole number" + kDamaged);
  CHECK(refused("/model/merges/0", Json::array({"hel", "lo"})) ==
        "model.merges[0]: 'hel' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/vocab/b", 8) == "model.vocab: 'a' and 'b' share the id 8" + kDamaged);
  CHECK(refused("/model/vocab/b", 11) == "model: the ids go up to 11, but no piece has the id 9" + kDamaged);
  CHECK(refused("/model/vocab/b", -1) ==
        "model.vocab: the id of 'b' is not a whole number from 0 to 4194303" + kDamaged);
  CHECK(refused("/model/vocab/b", 1e10) ==
        "model.vocab: the id of 'b' is not a whole number from 0 to 4194303" + kDamaged);
  CHECK(refused("/model/vocab", Json::object()) == "model.merges[0]: 'h' is not in the vocabulary" + kDamaged);
  CHECK(refused("/model/unk_token", "<unk>") == "model.unk_token: '<unk>' is not in the vocabulary" + kDamaged);
  CHECK(refused("/normalizer", sequence("normalizers", std::vector<Json>(65, {{"type", "NFC"}}))) ==
        "normalizer.normalizers: more than 64 normalizers" + kDamaged);
  CHECK(refused("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}) ==
        "pre_tokenizer.replacement: expected one character" + kDamaged);
  CHECK(refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "AAA"}}) ==
        "normalizer.precompiled_charsmap: not base64: the length is not a multiple of 4" + kDamaged);
  CHECK(refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "!AAA"}}) ==
        "normalizer.precompiled_charsmap: not base64: the byte 0x21" + kDamaged);
  CHECK(refused("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "/////wAA"}})
            .starts_with("normalizer: precompiled_charsmap: a trie of 4294967295 bytes does not fit into 6 bytes"));
  const auto unigram_refused = [](const std::string& key, const Json& value) {
    return open_error(with(unigram(), key, value).dump());
  };
  CHECK(unigram_refused("/model/unk_id", 6) == "model.unk_id: 6 is outside the vocabulary of 6" + kDamaged);
  CHECK(unigram_refused("/model/unk_id", -1) == "model.unk_id: -1 is not between 0 and 2147483647" + kDamaged);
  CHECK(unigram_refused("/model/vocab/2", Json::array({"", 0})) ==
        "model: the ids go up to 5, but no piece has the id 2" + kDamaged);
  CHECK(unigram_refused("/model/vocab/2", Json::array({"b", "0"})) ==
        "model.vocab[2][1]: expected a number, found a text" + kDamaged);
  CHECK(unigram_refused("/model/vocab/2", Json::array({"b"})) ==
        "model.vocab[2]: expected a piece and its score" + kDamaged);
}

TEST_CASE("tokenizer.json: a text may not grow without end") {
  std::vector<Json> doubling(
      40, {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(4000, 'a')}});
  const Json file = with(bpe(), "/normalizer", sequence("normalizers", doubling));
  CHECK(error_of([&] { encode(file, "aaaa"); }) ==
        "a text grows beyond 256 MiB while it is normalised; encode it line by line");
}

// Changed files are refused or work; either way nothing crashes, which the sanitizers watch.
TEST_CASE("tokenizer.json: changed files are refused or harmless") {
  Json file = bpe();
  file["added_tokens"] = Json::array({{{"id", 10}, {"content", "<A>"}, {"lstrip", true}}});
  file["normalizer"] = sequence(
      "normalizers", {{{"type", "NFKC"}}, {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}}});
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  file["decoder"] = {{"type", "ByteLevel"}};
  const TemporaryDirectory directory;
  const std::string path = directory / "t.json", text = "hello <A> ab\u3000\xff é";
  int opened = 0, refused = 0;
  for (std::uint32_t trial = 0; trial < 2000; ++trial) {
    std::string bytes = (trial % 2 == 0 ? file : unigram()).dump();
    const RandomStream random{.seed = 11, .step = trial};
    for (std::uint32_t change = 0; change <= trial % 3; ++change) {
      const auto [place, kind, value, unused] = random.block(change);
      const std::size_t at = place % bytes.size();
      if (kind % 4 == 0) bytes[at] = static_cast<char>(value);
      if (kind % 4 == 1) bytes[at] = "0123456789\"[]{},:"[value % 17];
      if (kind % 4 == 2) bytes.erase(at, value % 4);
      if (kind % 4 == 3) bytes.insert(at, bytes.substr(value % bytes.size(), 6));
    }
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const auto tokenizer = open_tokenizer(path);
      ++opened;
      tokenizer->decode(tokenizer->encode(text));
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(opened > 100);
  CHECK(refused > 100);
}
