// SentencePiece models: training, opening, and what must be refused before the library sees it.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "core/philox.h"
#include "tests/unit/temporary_directory.h"
#include "train/tokenizer/charsmap.h"
#include "train/tokenizer/sentencepiece.h"
#include "train/tokenizer/sentencepiece_model.h"
#include "train/tokenizer/tokenizer.h"

using namespace weir;

namespace {

// Lines of a few words; every tenth line ends in a number.
NextLine small_text(int lines) {
  return [line_number = 0, lines](std::string& line) mutable {
    constexpr std::array kWords{"water", "weir",   "over",  "the",  "stones", "flows", "a",
                                "river", "rivers", "falls", "deep", "stone",  "fall",  "flow"};
    if (line_number == lines) return false;
    line.clear();
    for (int word = 0; word < 8; ++word)
      line += kWords[static_cast<std::size_t>(line_number * 5 + word * word) % 14] + std::string(" ");
    if (line_number % 10 == 0) line += std::to_string(1000 + line_number * 7);
    ++line_number;
    return true;
  };
}

std::string small_model(const SentencePieceTraining& settings = {.vocabulary = 60}) {
  return train_sentencepiece(settings, small_text(200));
}

const SentencePieceModel& parsed_model() {
  static const SentencePieceModel model = parse_sentencepiece_model("m", small_model());
  return model;
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string parse_error(std::string_view bytes) {
  return error_of([&] { parse_sentencepiece_model("m", bytes); });
}

// The small model with a change.
template <class Change>
std::string parse_error_after(Change change) {
  SentencePieceModel model = parsed_model();
  change(model);
  return parse_error(serialize(model));
}

void put_word(std::string& bytes, std::size_t at, std::uint32_t word) {
  for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(word >> (8 * i) & 0xff);
}

// A table made by hand: units of the trie, then texts. Units not named match nothing.
std::string charsmap_blob(std::size_t count, const std::map<std::uint32_t, std::uint32_t>& units,
                          std::string_view texts) {
  std::string blob(4 + 4 * count, '\xff');
  put_word(blob, 0, static_cast<std::uint32_t>(4 * count));
  for (const auto& [index, unit] : units) put_word(blob, 4 + 4 * index, unit);
  return blob + std::string(texts);
}

constexpr std::uint32_t transition(char byte, std::uint32_t offset, bool value) {
  return static_cast<unsigned char>(byte) | offset << 10 | std::uint32_t{value} << 8;
}
constexpr std::uint32_t kValue = std::uint32_t{1} << 31;

std::string charsmap_error(const std::string& blob) {
  return error_of([&] { Charsmap("m", blob); });
}

}  // namespace

TEST_CASE("sentencepiece: a trained model encodes, decodes and splits digits") {
  const TemporaryDirectory directory;
  const std::string bytes = small_model();
  CHECK(bytes == small_model());
  const std::string path = directory / "tokenizer.model";
  write_file_synced(path, bytes);
  const auto tokenizer = open_tokenizer(path);
  CHECK(tokenizer->vocabulary() == 60);
  CHECK(tokenizer->describe() == "SentencePiece, BPE, 60 pieces");
  const std::string text = "the weir falls over 1407 stones";
  const auto tokens = tokenizer->encode(text);
  CHECK(tokenizer->decode(tokens) == text);
  CHECK(tokenizer->encode("").empty());
  CHECK(tokenizer->decode({}).empty());
  // <unk>, <s>, </s>, then the merges in the order of their frequency.
  std::string pieces;
  for (const std::int32_t token : {0, 1, 2, 3}) pieces += tokenizer->piece(token) + " ";
  CHECK(pieces == "<unk> <s> </s> er ");
  std::string digits;
  for (const std::int32_t token : tokenizer->encode("1407")) digits += tokenizer->piece(token) + " ";
  CHECK(digits == "▁ 1 4 0 7 ");
  CHECK(tokenizer->encode("<s>").size() > 1);  // text never becomes a control token
  CHECK(error_of([&] { tokenizer->decode(std::vector{60}); }) ==
        "token 60 is outside the vocabulary of 60; the tokens belong to another tokenizer");
}

TEST_CASE("sentencepiece: files give the same model as their lines") {
  const TemporaryDirectory directory;
  std::string first, second, line;
  for (NextLine next = small_text(200); next(line);) (first.size() < 3000 ? first : second) += line + "\n";
  second.pop_back();  // the last line needs no end
  write_file_synced(directory / "a", first);
  write_file_synced(directory / "b", second);
  CHECK(train_sentencepiece({.vocabulary = 60}, std::vector{directory / "a", directory / "b"}) == small_model());
}

TEST_CASE("sentencepiece: what has no token is told") {
  const TemporaryDirectory directory;
  write_file_synced(directory / "m.model", small_model());
  const auto tokenizer = open_tokenizer(directory / "m.model");
  CHECK(tokenizer->unknown("the weir").empty());
  CHECK(tokenizer->unknown("wöter flößs") == std::vector<std::string>{"ö", "öß"});
  std::int64_t unknown_bytes = 0;
  for (const std::string text : {"the weir", "wöter flößs", "  ö"})
    CHECK(tokenizer->encode_counting(text, unknown_bytes) == tokenizer->encode(text));
  CHECK(unknown_bytes == 8 + 2);  // the blanks before the last are removed
  CHECK_FALSE(tokenizer->keeps_line_ends());
}

TEST_CASE("sentencepiece: what normalisation removes is counted as what is missing when the tokens are decoded") {
  const TemporaryDirectory directory;
  write_file_synced(directory / "m.model", small_model());
  const auto tokenizer = open_tokenizer(directory / "m.model");
  std::mt19937 random(7);
  const std::array<std::string, 6> parts{" ", " ", "  ", "the", "weir", "\x01"};
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (std::size_t left = random() % 9; left > 0; --left) text += parts[random() % parts.size()];
    CAPTURE(text);
    std::int64_t removed = 0;
    const std::vector<std::int32_t> tokens = tokenizer->encode_counting(text, removed);
    CHECK(tokenizer->unknown(text).empty());
    CHECK(removed == std::ssize(text) - std::ssize(tokenizer->decode(tokens)));
  }
}

TEST_CASE("sentencepiece: a model that keeps the layout loses nothing of a text") {
  const TemporaryDirectory directory;
  const auto lines = [next = small_text(200), odd = false](std::string& line) mutable {
    odd = !odd;
    if (!next(line)) return false;
    if (odd) line = "    if  <unk>\t<s> " + line;
    return true;
  };
  for (const auto& [type, vocabulary] : {std::pair("bpe", 100), std::pair("unigram", 45)}) {
    write_file_synced(directory / "m.model",
                      train_sentencepiece({.model_type = type, .vocabulary = vocabulary, .keep_layout = true}, lines));
    const auto tokenizer = open_tokenizer(directory / "m.model");
    CHECK(tokenizer->keeps_line_ends());
    std::int64_t unknown = 0;
    for (const std::string text : {"the weir\n", "\n", " \n", "  \tthe   weir \n", "<unk> <s> </s> the\n"}) {
      CAPTURE(text);
      const std::vector<std::int32_t> tokens = tokenizer->encode_counting(text, unknown);
      CHECK(tokenizer->decode(tokens) == text);
      CHECK(std::count(tokens.begin(), tokens.end(), 0) == 0);
    }
    CHECK(unknown == 0);
  }
}

TEST_CASE("sentencepiece: training refuses what cannot work") {
  const auto refused = [](const SentencePieceTraining& settings) {
    return error_of([&] { train_sentencepiece(settings, small_text(200)); });
  };
  CHECK(refused({.model_type = "word"}) ==
        "a SentencePiece model of type 'word' cannot be trained; the types are bpe and unigram");
  CHECK(refused({.vocabulary = 3}) == "a vocabulary of 3 pieces cannot be trained; give 4 to 1000000");
  for (const char* type : {"bpe", "unigram"}) {
    // Each limit is right: with the number that is named, it works.
    const auto named = [&](std::int64_t vocabulary, const std::string& before) {
      const std::string message = refused({.model_type = type, .vocabulary = vocabulary});
      const std::size_t at = message.rfind(before);
      REQUIRE_MESSAGE(at != std::string::npos, message);
      CHECK_MESSAGE(message.find(".cc") == std::string::npos, message);
      return std::stoll(message.substr(at + before.size()));
    };
    const std::int64_t least = named(8, "; give "), most = named(8000, "; give ");
    CHECK(refused({.model_type = type, .vocabulary = least}) == "no error");
    CHECK(refused({.model_type = type, .vocabulary = least - 1}) ==
          fmt::format("SentencePiece cannot train on this text: a vocabulary of {} pieces is too small for it: its "
                      "characters, with <unk>, <s> and </s>, take {} pieces; give {} or more",
                      least - 1, least, least));
    CHECK(refused({.model_type = type, .vocabulary = most}) == "no error");
    CHECK(refused({.model_type = type, .vocabulary = most + 1}) ==
          fmt::format(
              "SentencePiece cannot train on this text: a vocabulary of {} pieces is too large for it: it yields {} at "
              "most; give {} or fewer, or more text",
              most + 1, most, most));
  }
  for (const std::string& line : {std::string(" "), std::string(5000, 'a')})
    CHECK(
        error_of([&] {
          train_sentencepiece({}, [&, first = true](std::string& next) mutable {
            next = line;
            return std::exchange(first, false);
          });
        }) ==
        "SentencePiece cannot train on this text: it has no line of 1 to 4192 bytes that is not blank; give a text of "
        "lines ('fold -s' breaks long ones)");
  const auto broken = [] {
    train_sentencepiece({}, [](std::string&) -> bool { throw RunError(ExitCode::io, "the disk is gone"); });
  };
  CHECK(error_of(broken) == "the disk is gone");
}

TEST_CASE("sentencepiece: a model survives being read and written") {
  const SentencePieceModel& model = parsed_model();
  REQUIRE(model.pieces.size() == 60);
  CHECK(model.type == SentencePieceModel::Type::bpe);
  CHECK(model.pieces[0].type == SentencePieceModel::PieceType::unknown);
  CHECK(model.pieces[3].text == "er");
  CHECK(model.normalization.add_dummy_prefix);
  CHECK(model.normalization.charsmap.size() > 100'000);
  CHECK(serialize(parse_sentencepiece_model("m", serialize(model))) == serialize(model));
}

TEST_CASE("sentencepiece: hostile models are refused with the reason") {
  const std::string prefix = "m: not a sound SentencePiece model: ", remedy = "; fetch or train it again";
  const auto message = [&](const std::string& why) { return prefix + why + remedy; };
  using Model = SentencePieceModel;
  using Type = Model::PieceType;
  using namespace std::string_literals;
  CHECK(parse_error("") == message("there are no pieces"));
  CHECK(parse_error("\x0a") == message("before byte 1: a length of 1 byte where 0 are left"));
  CHECK(parse_error("\x0a\x7fxyz") == message("before byte 2: a length of 127 bytes where 3 are left"));
  CHECK(parse_error("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") ==
        message("before byte 11: a length of 18446744073709551615 bytes where 0 are left"));
  CHECK(parse_error("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01") ==
        message("before byte 11: a number has more than ten bytes"));
  CHECK(parse_error("\x0b") == message("before byte 1: field 1 has the unknown wire type 3"));
  CHECK(parse_error("\x02") == message("before byte 1: the field number 0 is out of range"));
  CHECK(parse_error("\x08\x01") == message("before byte 2: field 1 is not a message"));
  CHECK(parse_error("\x0a\x02\x18\x09") == message("before byte 4: the piece type 9 is unknown"));
  CHECK(parse_error("\x12\x02\x18\x07") == message("before byte 4: the model type 7 is unknown"));
  CHECK(parse_error("{\"version\": \"1.0\"}").starts_with(prefix));
  CHECK(parse_error_after([](Model& m) { m.pieces[5].text.clear(); }) == message("piece 5 ('') is empty"));
  CHECK(parse_error_after([](Model& m) { m.pieces[5].text = "\xff"; }) == message("piece 5 ('\\xff') is not UTF-8"));
  CHECK(parse_error_after([](Model& m) { m.pieces[5].text = "a\0b"s; }) ==
        message("piece 5 ('a\\x00b') contains a zero byte"));
  CHECK(parse_error_after([](Model& m) { m.pieces[5].text.assign(5000, 'a'); }) ==
        message("piece 5 ('" + std::string(40, 'a') + "...') has more than 4096 bytes"));
  CHECK(parse_error_after([](Model& m) {
          m.pieces[5].score = std::numeric_limits<float>::quiet_NaN();
        }).starts_with(prefix + "piece 5 ("));
  CHECK(parse_error_after([](Model& m) {
          m.pieces[5].score = -std::numeric_limits<float>::infinity();
        }).ends_with("has the score -inf" + remedy));
  CHECK(parse_error_after([](Model& m) { m.pieces[5].text = "er"; }) == message("piece 5 ('er') is piece 3 as well"));
  CHECK(parse_error_after([](Model& m) { m.pieces[0].type = Type::normal; }) ==
        message("0 pieces for what is unknown, expected 1"));
  CHECK(parse_error_after([](Model& m) { m.pieces[1].type = Type::unknown; }) ==
        message("2 pieces for what is unknown, expected 1"));
  CHECK(parse_error_after([](Model& m) {
          m.pieces[9] = {"<0x0A>", 0, Type::byte};
        }) == message("piece '<0x0A>' is a byte, but byte_fallback is off"));
  CHECK(parse_error_after([](Model& m) { m.byte_fallback = true; }) ==
        message("byte_fallback is on, but the piece '<0x00>' is missing"));
  CHECK(parse_error_after([](Model& m) {
          for (std::size_t i = 1; i <= 65; ++i) m.pieces.push_back({std::string(i, 'x'), 0, Type::user_defined});
        }) == message("more than 64 user-defined pieces begin one another"));
  CHECK(parse_error_after([](Model& m) { m.unknown_surface = "\xff"; }) ==
        message("unk_surface is not UTF-8 of at most 4096 bytes"));
  CHECK(parse_error_after([](Model& m) { put_word(m.normalization.charsmap, 0, 0xfffffffc); }) ==
        fmt::format("m: normalizer_spec: precompiled_charsmap: a trie of 4294967292 bytes does not fit into {} bytes; "
                    "the file is damaged: fetch or export it again",
                    parsed_model().normalization.charsmap.size()));
  CHECK(parse_error_after([](Model& m) {
          m.denormalization.charsmap = "xx";
        }).starts_with("m: denormalizer_spec: precompiled_charsmap: a trie of 0 bytes"));
}

TEST_CASE("sentencepiece: a charsmap finds the shortest key and refuses offsets that lead astray") {
  // "a" -> "one", "ab" -> "two": the root leads to place 256, "a" to 512 with a value, "b" to 768 with a value.
  const std::uint32_t a = 256 ^ 'a', b_place = 512, b = b_place ^ 'b';
  const std::map<std::uint32_t, std::uint32_t> units{{0, transition('\0', 256, false)},
                                                     {a, transition('a', a ^ b_place, true)},
                                                     {b_place, kValue | 0},
                                                     {b, transition('b', b ^ 768, true)},
                                                     {768, kValue | 4}};
  const std::string_view texts("one\0two\0", 8);
  const Charsmap map("m", charsmap_blob(1024, units, texts));
  CHECK(map.shortest_match("abc") == "one");
  CHECK(!map.shortest_match("b").has_value());
  CHECK(!map.shortest_match("").has_value());
  CHECK(Charsmap("m", "").empty());

  const auto message = [](const std::string& why) {
    return "m: precompiled_charsmap: " + why + "; the file is damaged: fetch or export it again";
  };
  const auto changed = [&](std::uint32_t at, std::uint32_t unit) {
    auto other = units;
    other[at] = unit;
    return charsmap_error(charsmap_blob(1024, other, texts));
  };
  CHECK(changed(0, transition('\0', 1024, false)) == message("the trie leads to unit 1279 of 1024"));
  CHECK(changed(a, transition('a', 2048, false)) ==
        message(fmt::format("the trie leads from unit {} to 2559 of 1024", a)));
  CHECK(changed(a, transition('a', a ^ 256, false)) ==
        message(fmt::format("the trie leads in a circle through unit {}", a)));
  CHECK(changed(768, kValue | 8) == message("a replacement begins at byte 8 of 8"));
  CHECK(changed(768, kValue | 0x7fffffff) == message("a replacement begins at byte 2147483647 of 8"));
  CHECK(charsmap_error(charsmap_blob(1024, units, "one")) == message("the last replacement does not end"));
  CHECK(charsmap_error(charsmap_blob(1024, units, std::string_view("\xff\0two\0", 6))) ==
        message("the replacement at byte 0 is not UTF-8"));
  CHECK(charsmap_error(charsmap_blob(1024, units, std::string(1025, 'x') + '\0')) ==
        message("a replacement has 1025 bytes, at most 1024 are allowed"));
  CHECK(charsmap_error(std::string(Charsmap::kMaxBytes + 1, 'x')) ==
        message("4194305 bytes, at most 4194304 are allowed"));

  // A chain of 33 keys "a", "aa", ... : one more than readers have room for.
  for (const std::uint32_t keys : {32u, 33u}) {
    std::map<std::uint32_t, std::uint32_t> chain{{0, transition('\0', 256, false)}};
    for (std::uint32_t i = 1; i <= keys; ++i) {
      const std::uint32_t at = (i * 256) ^ 'a', to = (i + 1) * 256;
      chain[at] = transition('a', at ^ to, true);
      chain[to] = kValue | 0;
    }
    CHECK(charsmap_error(charsmap_blob(256 * (keys + 2), chain, texts)) ==
          (keys == 32 ? "no error" : message("more than 32 keys begin one another")));
  }
}

// The library follows what it is given, so what passes the checks must be harmless: changed models are refused, or
// encode and decode without touching anything but their own memory (which the sanitizers watch).
TEST_CASE("sentencepiece: changed models are refused or harmless") {
  const TemporaryDirectory directory;
  const std::string path = directory / "tokenizer.model";
  SentencePieceModel small = parsed_model();
  small.normalization.charsmap.clear();
  const std::array originals{serialize(small), small_model()};
  const std::string text = "The weir\u3000falls ﬁne 1407\xff\xe2\x96\x81 é e\u0301 " + std::string(3, '\0') + "②";
  int opened = 0, refused = 0;
  for (std::uint32_t trial = 0; trial < 600; ++trial) {
    const bool large = trial % 8 == 0;
    std::string bytes = originals[large ? 1 : 0];
    const RandomStream random{.seed = 7, .step = trial};
    for (std::uint32_t change = 0; change <= trial % 4; ++change) {
      const auto [place, kind, value, unused] = random.block(change);
      const std::size_t at = place % bytes.size();
      if (kind % 3 == 0) bytes[at] = static_cast<char>(value);
      if (kind % 3 == 1) bytes[at] = static_cast<char>(bytes[at] ^ 1 << value % 8);
      if (kind % 3 == 2) bytes.erase(at, value % 3);
    }
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const auto tokenizer = open_tokenizer(path);
      ++opened;
      tokenizer->decode(tokenizer->encode(text));
    } catch (const Error& error) {
      CHECK(std::string(error.what()).starts_with(path + ": "));
      ++refused;
    }
  }
  CHECK(opened > 20);
  CHECK(refused > 20);
}
