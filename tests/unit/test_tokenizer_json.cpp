// tokenizer.json: what small files make of small texts, worked out by hand. That the tokens are those of other programs
// on real texts is the business of tests/tokenizers.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <thread>

#include "core/philox.h"
#include "tests/unit/small_tokenizers.h"
#include "train/tokenizer/unknown_text.h"

using namespace weir;
using namespace weir::tests;

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

TEST_CASE("tokenizer.json: WordPiece takes the longest piece, and unknown words as a whole") {
  using Tokens = std::vector<std::int32_t>;
  Json file{{"model",
             {{"type", "WordPiece"},
              {"unk_token", "[UNK]"},
              {"continuing_subword_prefix", "##"},
              {"max_input_chars_per_word", 6},
              {"vocab", {{"[UNK]", 0}, {"a", 1}, {"ab", 2}, {"##b", 3}, {"##bb", 4}, {"é", 5}, {"##é", 9}}}}},
            {"pre_tokenizer", {{"type", "BertPreTokenizer"}}}};
  CHECK(encode(file, "ab abb abbb éé") == Tokens{2, 2, 3, 2, 4, 5, 9});
  CHECK(encode(file, "abc ababab abbbbbb") == Tokens{0, 0, 0});
  CHECK(open_text(file.dump())->vocabulary() == 10);
  CHECK(open_text(file.dump())->describe() == "tokenizer.json, WordPiece, 10 pieces");
  CHECK(open_text(file.dump())->unknown("abc ab abc") == std::vector<std::string>{"abc", "abc"});
  file["model"]["type"] = "WordLevel";
  CHECK(encode(file, "ab abb a") == Tokens{2, 0, 1});
  file["model"]["unk_token"] = "none";
  CHECK(error_of([&] { encode(file, "ab abb"); })
            .ends_with(
                "t.json: model: the word \"abb\" is not in the vocabulary, nor is unk_token, 'none'; use a tokenizer "
                "made for such text"));
}

// Whisper has a piece that is the empty text, GPT-4 ids without a piece, others no version or an unknown token that
// they do not have.
TEST_CASE("tokenizer.json: vocabularies as real files have them") {
  using Tokens = std::vector<std::int32_t>;
  Json file = bpe();
  file.erase("version");
  file["model"]["vocab"][""] = 10;
  file["model"]["vocab"]["x"] = 20;
  file["model"]["unk_token"] = "[UNK]";
  const auto tokenizer = open_text(file.dump());
  CHECK(tokenizer->vocabulary() == 21);
  CHECK(tokenizer->encode("ahellox") == Tokens{8, 7, 20});
  CHECK(tokenizer->decode(std::vector{8, 10, 20}) == "a  x");
  CHECK(tokenizer->decode(std::vector{8, 15, 20}) == "a x");  // no piece has this id
  CHECK(tokenizer->piece(15).empty());
  CHECK(error_of([&] { tokenizer->encode("a?"); })
            .ends_with(
                "t.json: model.unk_token, '[UNK]': not in the vocabulary, nor is the character '?'; use a tokenizer "
                "made for such text"));
}

TEST_CASE("tokenizer.json: what has no token is told") {
  using Parts = std::vector<std::string>;
  CHECK(open_text(bpe().dump())->unknown("a?bß") == Parts{"?", "ß"});  // these vanish
  CHECK(open_text(with(bpe(), "/model/unk_token", "a").dump())->unknown("?a") == Parts{"?"});
  CHECK(open_text(unigram().dump())->unknown("a??b?") == Parts{"??", "?"});
  CHECK(open_text(with(bpe(), "/normalizer", {{"type", "Lowercase"}}).dump())->unknown("HELLO") == Parts{});
  Json bytes = with(bpe(), "/model/byte_fallback", true);
  for (int byte = 0; byte < 256; ++byte) bytes["model"]["vocab"][fmt::format("<0x{:02X}>", byte)] = 10 + byte;
  CHECK(open_text(bytes.dump())->unknown("ß") == Parts{});
  UnknownText unknown;
  const auto tokenizer = open_text(bpe().dump());
  CHECK_FALSE(unknown.any());
  for (const char* text : {"ab", "?ß", "ß"}) unknown.add(*tokenizer, text);
  CHECK(unknown.describe("the prompt") ==
        "the tokenizer has no token for 3 parts of the prompt: \"ß\" (2 times), \"?\"; the model cannot read what is "
        "unknown");
}

TEST_CASE("tokenizer.json: the bytes of a text that have no token are counted") {
  const auto count = [](const Json& file, const std::string& text) {
    const auto tokenizer = open_text(file.dump());
    std::int64_t first = 0, again = 0;  // worked out, and from the cache
    CHECK(tokenizer->encode_counting(text, first) == tokenizer->encode(text));
    tokenizer->encode_counting(text, again);
    CHECK(again == first);
    return first;
  };
  CHECK(count(bpe(), "hello") == 0);
  CHECK(count(bpe(), "a?bß") == 3);  // these vanish
  CHECK(count(bpe(), std::string(200, '?')) == 200);
  CHECK(count(with(bpe(), "/model/unk_token", "a"), "a??") == 2);
  CHECK(count(unigram(), "aßßb?") == 5);
  CHECK(count(with(bpe(), "/normalizer", {{"type", "Replace"}, {"pattern", {{"String", "?"}}}, {"content", "ßß"}}),
              "a??") == 3);  // at most the text
  Json bytes = with(bpe(), "/model/byte_fallback", true);
  for (int byte = 0; byte < 256; ++byte) bytes["model"]["vocab"][fmt::format("<0x{:02X}>", byte)] = 10 + byte;
  CHECK(count(bytes, "ß") == 0);
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  CHECK(count(with(bpe(), "/pre_tokenizer", byte_level), "aaaaaaß ") ==
        3);  // not the two bytes of each in its alphabet
  CHECK(count(with(bpe(), "/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({byte_level})}}),
              "aaaaaaß ") == 3);
  const Json words{
      {"model", {{"type", "WordLevel"}, {"unk_token", "[UNK]"}, {"vocab", {{"[UNK]", 0}, {"a", 1}, {"▁a", 2}}}}},
      {"pre_tokenizer", {{"type", "WhitespaceSplit"}}}};
  CHECK(count(words, "a river [UNK]") == 5);
  CHECK(count(with(words, "/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}}),
              "a a river") == 6);
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
  const auto bert = [](bool clean, bool chinese, const Json& accents, bool lower) {
    return Json{{"type", "BertNormalizer"},
                {"clean_text", clean},
                {"handle_chinese_chars", chinese},
                {"strip_accents", accents},
                {"lowercase", lower}};
  };
  CHECK(normalized(bert(true, true, nullptr, true), "\tÉ\u200b日") == " e 日 ");
  CHECK(normalized(bert(false, false, false, true), "É\u200b") == "é\u200b");
  CHECK(normalized(bert(false, false, true, false), "É") == "E");
  CHECK(normalized(bert(false, false, nullptr, false), "É") == "É");
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
  CHECK(words({{"type", "BertPreTokenizer"}}, " it's $5…\t") == "it|'|s|$|5|…|");
  CHECK(words({{"type", "CharDelimiterSplit"}, {"delimiter", "-"}}, text) == "the|final|countdown|");
  CHECK(words({{"type", "FixedLength"}, {"length", 2}}, "aé日b1") == "aé|日b|1|");
  CHECK(words({{"type", "FixedLength"}}, "abcdefg") == "abcde|fg|");
  // A script each; what is before the first that has one vanishes.
  CHECK(words({{"type", "UnicodeScripts"}}, "  ab жa ひー。") == "ab |ж|a |ひー|。|");
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

namespace {

std::string cut(const std::string& pattern, const std::string& text) {
  return words({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
               text);
}

}  // namespace

// As the package tokenizers 0.23.3 cuts them.
TEST_CASE("tokenizer.json: patterns mean what they mean to Oniguruma") {
  CHECK(cut(R"(\s+)", "a\u180eb\u2003c") == "a\u180eb|\u2003|c|");  // U+180E is no space any more
  CHECK(cut(R"(\h+)", "xyzabf0g") == "xyz|abf0|g|");                // hexadecimal digits
  CHECK(cut(R"(^b)", "a\nb") == "a\n|b|");
  CHECK(cut(R"(\u0062{,2})", "abbbc") == "a|bb|b|c|");
  CHECK(cut(R"(\d{,2}x)", "a12xb") == "a|12x|b|");
  CHECK(cut(R"(\d{1,3}+)", "1234") == "1234|");  // a "+" behind braces repeats them once more
  CHECK(cut(R"((?i:'S))", "it's") == "it|'s|");
  CHECK(cut(R"([\w]+)", "a\u200d-Ⅻ") == "a|\u200d-|Ⅻ|");
  CHECK(cut(R"(\p{Han}+)", "a日日。") == "a|日日|。|");
  CHECK(cut(R"([^(\s|[.,])]+)", "ab 12.") == "ab| |12|.|");
  CHECK(cut(R"([\p{L}&&[^b]]+)", "ab 12.") == "a|b 12.|");
  CHECK(cut(R"(\d{1,2}(?=(?:\d{2})*\b))", "ab 123.") == "ab |1|23|.|");
  CHECK(cut(R"((\w)\1)", "abba") == "a|bb|a|");
  const auto refused = [&](const std::string& pattern) { return error_of([&] { cut(pattern, "a"); }); };
  CHECK(refused("(a").ends_with(
      "the pattern \"(a\" cannot be compiled: end pattern with unmatched parenthesis; correct it"));
  CHECK(refused("(?(1)a)").ends_with("has a condition, (?(...)...), which is not supported; write it without"));
  CHECK(refused(std::string(20000, 'a')).ends_with("the pattern has 20000 bytes, at most 16384 are allowed"));
  CHECK(refused(std::string(8000, '(')).ends_with("cannot be compiled: parse depth limit over; correct it"));
}

// Where version 6.9.8 of the library differs from the one in the package.
TEST_CASE("tokenizer.json: punctuation and line ends are those of newer versions of Oniguruma") {
  CHECK(cut("[[:punct:]]+", "a€b") == "a|€|b|");
  CHECK(cut("[^[:punct:]]", "€a") == "€|a|");
  CHECK(cut("[[:^punct:]]", "€a") == "€|a|");
  CHECK(cut(R"(\p{Punct})", "a€$.") == "a€$|.|");
  CHECK(cut(R"(\p{^posix_punct})", "€a") == "€|a|");
  CHECK(cut(R"(b\R)", "ab\nb\r\nb") == "a|b\n|b\r\n|b|");
  CHECK(cut(R"(\R*+)", "a\n\nb") == "a|\n\n|b|");
  CHECK(cut(R"([\R]|[]\R]\\R)", "R\nx") == "R|\nx|");
}

TEST_CASE("tokenizer.json: matches found in one go are those found one by one") {
  // With a reference to a group that nothing is in, a pattern is searched for match by match.
  const std::string one_by_one = R"(|(?!)(x)\1)";
  std::string text;
  for (std::uint32_t i = 0; i < 3000; ++i)
    text += std::array{
        "word", " two", "  ", "\n", "12", "'s", "-", "é", "\u3000"}[RandomStream{.seed = 5, .step = i}.block(0).x % 9];
  for (const std::string pattern : {R"('s| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", R"(\w*)", R"(\s+|$)",
                                    "o?", R"((?<=w)o|\b)", "(?i)W", "(?x) o | w # a comment\n", "(?x) o | w ", "x"})
    CHECK_MESSAGE(cut(pattern, text) == cut("(?:" + pattern + ")" + one_by_one, text), pattern);
}

TEST_CASE("tokenizer.json: long runs of one kind are no trouble, and a pattern that takes for ever is named") {
  const auto with_pattern = [](const std::string& pattern) {
    return open_text(
        with(bpe(), "/pre_tokenizer",
             {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}})
            .dump());
  };
  const auto tokenizer = with_pattern(R"(\s*[\r\n]+|\s+(?!\S)|\s+|a)");
  CHECK(tokenizer->encode(std::string(1'000'000, ' ') + "a") == std::vector<std::int32_t>{8});
  for (const auto& [pattern, text] :
       {std::pair{"(a+)+$", std::string(60, 'a') + "b"}, {"(a|aa)+$", std::string(200, 'a') + "b"}}) {
    const std::string message =
        error_of([&, &pattern = pattern, &text = text] { with_pattern(pattern)->encode(text); });
    CHECK_MESSAGE(
        message.find(fmt::format("t.json: pre_tokenizer.pattern.Regex: the pattern \"{}\" takes too long on a text "
                                 "of {} bytes; write it without nested repetition",
                                 pattern, text.size())) != std::string::npos,
        message);
  }
}

TEST_CASE("tokenizer.json: patterns can be used by several threads") {
  const auto tokenizer =
      open_text(with(bpe(), "/pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}).dump());
  std::string text;
  for (int i = 0; i < 2000; ++i) text += i % 3 == 0 ? "hello" : i % 3 == 1 ? " ab" : " hell";
  const auto expected = tokenizer->encode(text);
  std::vector<int> same(4);
  std::vector<std::thread> threads;
  for (int& result : same)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) result += tokenizer->encode(text) == expected;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(same == std::vector<int>(4, 20));
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
  const auto word_piece = [](bool cleanup) {
    return Json{{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", cleanup}};
  };
  CHECK(decoded(word_piece(true), {"##it", "##s", "do", "n't", "."}) == "##its don't.");
  CHECK(decoded(word_piece(false), {"do", "n't", "."}) == "do n't .");
  const auto ctc = [](bool cleanup) {
    return Json{{"type", "CTC"}, {"pad_token", "_"}, {"word_delimiter_token", "|"}, {"cleanup", cleanup}};
  };
  CHECK(decoded(ctc(true), {"_", "h", "h", "_", "h", "|", "|", "_", "o"}) == "hh o");
  CHECK(decoded(ctc(false), {"a", "|"}) == "a|");
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
  CHECK(refused(added("", 99, Json::object())) == "no error");  // found nowhere
  CHECK(refused(added(std::string(5000, 'x').c_str(), 10, Json::object())) ==
        "added_tokens[0]: content has 5000 bytes, at most 4096 are allowed" + kDamaged);
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
