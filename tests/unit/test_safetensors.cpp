// Safetensors: round trips, the exact bytes written, and files made to mislead the reader.
#include "core/safetensors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "tests/unit/temporary_directory.h"

using namespace weir;

namespace {

constexpr DType kAll[] = {DType::float64, DType::float32, DType::bf16,   DType::int32,
                          DType::int64,   DType::uint8,   DType::boolean};

std::string file_of(const std::string& header, const std::string& data = "") {
  const std::uint64_t n = header.size();
  std::string file(sizeof n, '\0');
  std::memcpy(file.data(), &n, sizeof n);
  return file + header + data;
}

// 0 1 2 3 ... in that shape; 0 1 0 1 ... for booleans.
Tensor counting(const Shape& shape, DType dtype) {
  std::vector<double> values(static_cast<std::size_t>(shape.product()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(dtype == DType::boolean ? i % 2 : i % 200);
  return Tensor::from_values(shape, values, dtype);
}

void check_equal(const Tensor& a, const Tensor& b) {
  CHECK(a.dtype() == b.dtype());
  CHECK(a.shape() == b.shape());
  CHECK(a.values() == b.values());
}

// "" where the file is accepted, else the one line of the error.
std::string refusal(const std::string& path, const std::string& contents) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << contents;
  try {
    const SafetensorsFile file(path);
    for (const std::string& name : file.names()) file.load(name);
    return "";
  } catch (const RunError& error) {
    CHECK(error.code() == ExitCode::bad_data);
    const std::string message = error.what();
    CHECK(message.starts_with(path + ": "));
    CHECK(message.find("; ") != std::string::npos);
    CHECK(std::none_of(message.begin(), message.end(), [](unsigned char c) { return c < 0x20; }));
    return message;
  }
}

template <class F>
std::string message_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text << " lacks " << part);
  return found;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

}  // namespace

TEST_CASE("every dtype, rank and layout survives a round trip") {
  const TemporaryDirectory directory;
  const Shape shapes[] = {{}, {5}, {0}, {3, 5}, {3, 0}, {0, 3}, {2, 3, 5}, {2, 1, 1}, {2, 3, 4, 16}, {2, 0, 4, 5}};
  std::vector<NamedTensor> tensors;
  for (const DType dtype : kAll)
    for (const Shape& shape : shapes)
      tensors.push_back({std::string(dtype_name(dtype)) + shape.str(), counting(shape, dtype)});
  for (const DType dtype : kAll) {
    const Tensor t = counting({4, 6, 7}, dtype);
    tensors.push_back({std::string(dtype_name(dtype)) + " transposed", transpose_view(t, 0, 2)});
    tensors.push_back({std::string(dtype_name(dtype)) + " sliced", slice_view(t, 2, 2, 5)});
    tensors.push_back({std::string(dtype_name(dtype)) + " stretched", broadcast_view(counting({6, 1}, dtype), {6, 9})});
  }
  write_safetensors(directory / "a", tensors, {{"format", "pt"}, {"note", "σ \"quoted\"\n"}});
  const SafetensorsFile file(directory / "a");
  CHECK(file.names().size() == tensors.size());
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"note", "σ \"quoted\"\n"}});
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    REQUIRE(file.has(name));
    CHECK(file.shape(name) == tensor.shape());
    CHECK(file.dtype(name) == tensor.dtype());
    const Tensor loaded = file.load(name);
    check_equal(loaded, tensor);
    CHECK(loaded.strides() == padded_strides(tensor.shape(), tensor.dtype()));
  }
}

TEST_CASE("tensors larger than the writer's buffer survive, padded or not") {
  const TemporaryDirectory directory;
  const std::vector<NamedTensor> tensors{{"many rows", counting({70'001, 13}, DType::float32)},
                                         {"no padding", counting({40'000, 16}, DType::float32)},
                                         {"wide rows", counting({2, 300'001}, DType::float32)}};
  write_safetensors(directory / "a", tensors);
  const SafetensorsFile file(directory / "a");
  for (const auto& [name, tensor] : tensors) check_equal(file.load(name), tensor);
}

TEST_CASE("not-a-number and infinity keep their bits") {
  const TemporaryDirectory directory;
  const std::uint32_t bits[] = {0x7fc12345u, 0xff800000u, 0x80000000u, 0x00000001u};
  const Tensor t = Tensor::empty({4}, DType::float32);
  std::memcpy(t.raw(), bits, sizeof bits);
  const NamedTensor named{"x", t};
  write_safetensors(directory / "a", {&named, 1});
  CHECK(std::memcmp(SafetensorsFile(directory / "a").load("x").raw(), bits, sizeof bits) == 0);
}

TEST_CASE("the bytes written are the ones the format prescribes") {
  const TemporaryDirectory directory;
  const std::vector<NamedTensor> tensors{{"flag", Tensor::from_values({1}, std::vector<double>{1}, DType::boolean)},
                                         {"b", Tensor::from_values({1, 3}, std::vector<double>{1, 2, 3}, DType::uint8)},
                                         {"z", Tensor::scalar(-1, DType::int64)},
                                         {"a", Tensor::scalar(1, DType::float32)}};
  write_safetensors(directory / "a", tensors, {{"format", "pt"}});
  std::string header =
      R"({"__metadata__":{"format":"pt"},"z":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[8,12]},"b":{"dtype":"U8","shape":[1,3],"data_offsets":[12,15]},)"
      R"("flag":{"dtype":"BOOL","shape":[1],"data_offsets":[15,16]}})";
  while (header.size() % 8 != 0) header += ' ';
  const std::string data("\xff\xff\xff\xff\xff\xff\xff\xff\0\0\x80\x3f\1\2\3\1", 16);
  CHECK(read_file(directory / "a", 10'000) == file_of(header, data));
  const std::vector<NamedTensor> reversed(tensors.rbegin(), tensors.rend());
  write_safetensors(directory / "b", reversed, {{"format", "pt"}});
  CHECK(read_file(directory / "a", 10'000) == read_file(directory / "b", 10'000));
  CHECK(SafetensorsFile(directory / "a").names() == std::vector<std::string>{"z", "a", "b", "flag"});
}

TEST_CASE("F16 is read as float32, every value of it") {
  const TemporaryDirectory directory;
  std::string data;
  for (int bits = 0; bits < 1 << 16; ++bits) data += {static_cast<char>(bits), static_cast<char>(bits >> 8)};
  write_file_synced(directory / "a",
                    file_of(R"({"h":{"dtype":"F16","shape":[256,256],"data_offsets":[0,131072]}})", data));
  const SafetensorsFile file(directory / "a");
  CHECK(file.dtype("h") == DType::float32);
  const Tensor into = Tensor::zeros({256, 256}, DType::float32);
  file.load_into("h", into);
  const std::vector<double> loaded = file.load("h").values(), filled = into.values();
  for (int bits = 0; bits < 1 << 16; ++bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double magnitude = exponent == 0   ? std::ldexp(mantissa, -24)
                             : exponent < 31 ? std::ldexp(1024 + mantissa, exponent - 25)
                             : mantissa == 0 ? std::numeric_limits<double>::infinity()
                                             : std::numeric_limits<double>::quiet_NaN();
    const double expected = bits >> 15 != 0 ? -magnitude : magnitude;
    const auto at = static_cast<std::size_t>(bits);
    REQUIRE((loaded[at] == expected || (std::isnan(expected) && std::isnan(loaded[at]))));
    REQUIRE((filled[at] == expected || (std::isnan(expected) && std::isnan(filled[at]))));
  }
}

TEST_CASE("load_into fills any layout and converts between floating dtypes only") {
  const TemporaryDirectory directory;
  const std::vector<NamedTensor> tensors{{"f", counting({3, 5}, DType::float32)},
                                         {"i", counting({3, 5}, DType::int32)}};
  write_safetensors(directory / "a", tensors);
  const SafetensorsFile file(directory / "a");
  for (const DType dtype : {DType::float64, DType::float32, DType::bf16}) {
    const Tensor whole = Tensor::zeros({5, 8}, dtype);
    const Tensor part = transpose_view(slice_view(whole, 1, 2, 5), 0, 1);
    file.load_into("f", part);
    CHECK(part.values() == tensors[0].tensor.values());
    const Tensor rows = slice_view(Tensor::zeros({3, 9}, dtype), 1, 3, 8);
    file.load_into("f", rows);
    CHECK(rows.values() == tensors[0].tensor.values());
    CHECK(slice_view(whole, 1, 0, 2).values() == std::vector<double>(10, 0.0));
    CHECK(slice_view(whole, 1, 5, 8).values() == std::vector<double>(15, 0.0));
  }
  CHECK(contains(message_of([&] {
                   file.load_into("f", Tensor::zeros({5, 3}, DType::float32));
                 }),
                 "wrong shape (tensor 'f'): expected [5, 3], found [3, 5]; use a file written for this model"));
  CHECK(contains(message_of([&] {
                   file.load_into("f", Tensor::zeros({3, 5}, DType::int32));
                 }),
                 "wrong dtype (tensor 'f'): expected I32, found F32"));
  CHECK(contains(message_of([&] {
                   file.load_into("i", Tensor::zeros({3, 5}, DType::int64));
                 }),
                 "wrong dtype (tensor 'i'): expected I64, found I32"));
  CHECK(contains(message_of([&] { file.load("g\x1b"); }), "missing tensor (tensor 'g\\x1b'): the file has 2 tensors"));
}

TEST_CASE("what the format allows is accepted") {
  const TemporaryDirectory directory;
  const std::string x = entry("U8", "[2]", "[0,2]");
  const std::string accepted[] = {
      file_of("{}"),
      file_of(" \n\t{}\r\n "),
      file_of(R"({"__metadata__":{}})"),
      file_of("  {\"x\" : " + x + " }  ", "ab"),
      file_of(R"({"":)" + x + "}", "ab"),
      file_of(R"({"a\u0000b":)" + x + "}", "ab"),
      file_of(R"({"x":)" + x + R"(,"e":)" + entry("F32", "[0]", "[2,2]") + R"(,"f":)" + entry("I64", "[3,0]", "[0,0]") +
                  "}",
              "ab"),
      file_of(R"({"y":)" + entry("U8", "[]", "[2,3]") + R"(,"x":)" + x + "}", "abc"),
      file_of(R"({"x":)" + entry("F64", "[140737488355328,0]", "[0,0]") + "}"),
      file_of(R"({"x":)" + entry("F64", "[0,140737488355328]", "[0,0]") + "}"),
      file_of(R"({"x":)" + entry("BOOL", "[2]", "[0,2]") + "}", std::string("\0\1", 2)),
  };
  for (const std::string& file : accepted) CHECK(refusal(directory / "a", file) == "");
}

TEST_CASE("hostile files are refused with the reason") {
  const TemporaryDirectory directory;
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets,
                      const std::string& data = "") {
    return file_of(R"({"x":)" + entry(dtype, shape, offsets) + "}", data);
  };
  const auto two = [](const std::string& first, const std::string& second, const std::string& data) {
    return file_of(R"({"x":)" + first + R"(,"y":)" + second + "}", data);
  };
  const std::string u2 = entry("U8", "[2]", "[0,2]"), none = entry("U8", "[0]", "[0,0]");
  const std::string max64(8, '\xff'), over_limit("\x01\xe1\xf5\x05\0\0\0\0", 8);
  const struct {
    std::string contents, expected;
  } cases[] = {
      {"", "file too short (byte offset 0): 0 bytes"},
      {"1234567", "file too short (byte offset 0): 7 bytes"},
      {max64, "header too large (byte offset 0): 18446744073709551615 bytes, at most 100000000"},
      {over_limit + "{}", "header too large (byte offset 0): 100000001 bytes"},
      {file_of("{}").substr(0, 9), "the header takes 2 bytes, 1 is there"},
      {file_of(""), "bad header (byte offset 8): it does not begin with '{'"},
      {file_of("     "), "it does not begin with '{'"},
      {file_of("[]"), "bad header (byte offset 8): it does not begin with '{'"},
      {file_of("\xef\xbb\xbf{}"), "it does not begin with '{'"},
      {file_of("{"), "header is not valid JSON (byte offset 9)"},
      {file_of("{}x"), "header is not valid JSON (byte offset 10)"},
      {file_of("{}{}"), "header is not valid JSON"},
      {file_of(std::string("{}\0PK\3\4", 7)), "header is not valid JSON (byte offset 10): a zero byte"},
      {file_of("/**/{}"), "it does not begin with '{'"},
      {file_of("{/**/}"), "header is not valid JSON"},
      {file_of("{\"\xff\":1}"), "header is not valid JSON (byte offset 10)"},
      {file_of(R"({"\ud800":1})"), "header is not valid JSON"},
      {file_of("{\"\x1b[2J\":1}"), "header is not valid JSON"},
      {file_of(R"({"x":1})"), "bad entry (tensor 'x'): expected an object, found a number"},
      {file_of(R"({"x\u001b\n":null})"), "bad entry (tensor 'x\\x1b\\n'): expected an object, found null"},
      {file_of("{\"x\":" + std::string(500'000, '[')), "expected an object, found a list"},
      {file_of(R"({"x":{"shape":)" + std::string(500'000, '[')), "expected a whole number, found a list"},
      {file_of(R"({"x":{"shape":{}}})"), "bad shape (tensor 'x'): expected a list, found an object"},
      {file_of(R"({"x":{"dtype":[]}})"), "bad dtype (tensor 'x'): expected a text, found a list"},
      {file_of(R"({"x":{"dtype":"U8","dtype":"U8"}})"), "field 'dtype' appears twice"},
      {file_of(R"({"x":{"strides":[1]}})"), "unknown field 'strides'"},
      {file_of(R"({"x":{"dtype":"U8","shape":[]}})"), "field 'data_offsets' is missing"},
      {file_of(R"({"x":{}})"), "field 'dtype' is missing"},
      {two(u2, u2, "ab"), "overlapping tensors (tensor 'y'): it begins at 0, 'x' ends at 2"},
      {two(u2, entry("U8", "[2]", "[1,3]"), "abc"), "overlapping tensors (tensor 'y'): it begins at 1"},
      {two(u2, entry("U8", "[0]", "[1,1]"), "ab"), "overlapping tensors (tensor 'y')"},
      {two(u2, entry("U8", "[1]", "[3,4]"), "abcd"), "hole in the data (tensor 'y'): it begins at 3"},
      {one("U8", "[1]", "[1,2]", "ab"),
       "hole in the data (tensor 'x'): it begins at 1, the tensor before it ends at 0"},
      {one("U8", "[2]", "[0,2]", "abc"), "trailing bytes (data offset 2): 1 byte at"},
      {file_of("{}", "PK"), "trailing bytes (data offset 0): 2 bytes"},
      {one("U8", "[2]", "[0,2]", "a"), "reaches beyond the 1 byte of data"},
      {one("U8", "[2]", "[2,0]", "ab"), "[2, 0) ends before it begins"},
      {one("F32", "[2]", "[0,2]", "ab"), "F32 [2] takes 8 bytes, [0, 2) has 2"},
      {one("U8", "[3]", "[0,2]", "ab"), "U8 [3] takes 3 bytes, [0, 2) has 2"},
      {one("U8", "[]", "[0,0]"), "U8 [] takes 1 byte, [0, 0) has 0"},
      {one("U8", "[2]", "[0]", "ab"), "bad data_offsets (tensor 'x'): expected two, found 1"},
      {one("U8", "[2]", "[0,1,2]", "ab"), "bad data_offsets (tensor 'x'): there are more than two"},
      {one("U8", "[2.0]", "[0,2]", "ab"), "bad size (tensor 'x'): 2.0 is not a whole number"},
      {one("U8", "[2e0]", "[0,2]", "ab"), "bad size (tensor 'x'): 2e0 is not a whole number"},
      {one("U8", "[-2]", "[0,2]", "ab"), "bad size (tensor 'x'): -2 is negative"},
      {one("U8", "[2]", "[-0,2]", "ab"), "bad size (tensor 'x'): -0 is not a whole number"},
      {one("U8", "[\"2\"]", "[0,2]", "ab"), "bad size (tensor 'x'): expected a whole number, found a text"},
      {one("U8", "[true]", "[0,2]", "ab"), "expected a whole number, found a truth value"},
      {one("U8", "[281474976710656]", "[0,2]", "ab"), "281474976710656 is more than 2^48 - 1"},
      {one("U8", "[0]", "[18446744073709551615,0]"), "18446744073709551615 is more than 2^48 - 1"},
      {one("U8", "[99999999999999999999]", "[0,2]", "ab"), "99999999999999999999 is more than 2^48 - 1"},
      {one("U8", "[1e999]", "[0,2]", "ab"), "header is not valid JSON"},
      {one("U8", "[02]", "[0,2]", "ab"), "header is not valid JSON"},
      {one("U8", "[4294967296,4294967296]", "[0,0]"), "[4294967296, 4294967296] has more than 2^48 - 1 elements"},
      {one("F64", "[140737488355328,140737488355328,0]", "[0,0]"), "has more than 2^48 - 1 elements"},
      {one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]", "a"), "it has more than 8 axes"},
      {one("F8_E5M2", "[1]", "[0,1]", "a"),
       "unsupported dtype (tensor 'x'): 'F8_E5M2' is not one of F64, F32, F16, BF16"},
      {one("F16", "[3]", "[0,4]", "abcd"), "F16 [3] takes 6 bytes, [0, 4) has 4"},
      {one("F4", "[1]", "[0,1]", "a"), "unsupported dtype (tensor 'x'): 'F4'"},
      {one("f32", "[1]", "[0,4]", "abcd"), "unsupported dtype (tensor 'x'): 'f32'"},
      {one("BOOL", "[2]", "[0,2]", "\x01\x02"), "bad BOOL value (tensor 'x'): byte offset"},
      {file_of(R"({"x":)" + u2 + R"(,"x":)" + u2 + "}", "ab"), "duplicate name (tensor 'x')"},
      {file_of(R"({"x":)" + none + R"(,"x":)" + u2 + "}", "ab"), "duplicate name (tensor 'x')"},
      {file_of(R"({"x":)" + u2 + R"(,"\u0078":)" + none + "}", "ab"), "duplicate name (tensor 'x')"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), "duplicate name (tensor '__metadata__')"},
      {file_of(R"({"__metadata__":{"a":"1","a":"1"}})"), "bad metadata (__metadata__): key 'a' appears twice"},
      {file_of(R"({"__metadata__":{"a":1}})"), "key 'a': expected a text, found a number"},
      {file_of(R"({"__metadata__":{"a":{}}})"), "key 'a': expected a text, found an object"},
      {file_of(R"({"__metadata__":null})"), "expected an object, found null"},
      {file_of(R"({"__metadata__":{"a":["b"]}})"), "key 'a': expected a text, found a list"},
  };
  for (const auto& [contents, expected] : cases) {
    CAPTURE(expected);
    CHECK(contains(refusal(directory / "a", contents), expected));
  }
}

TEST_CASE("every truncation and every flipped header bit is refused or leaves a sound file") {
  const TemporaryDirectory directory;
  const std::vector<NamedTensor> tensors{{"layer.weight", counting({2, 3}, DType::float32)},
                                         {"layer.mask", counting({4}, DType::boolean)},
                                         {"none", counting({0, 2}, DType::int64)}};
  write_safetensors(directory / "good", tensors, {{"format", "pt"}});
  const std::string good = read_file(directory / "good", 10'000);
  REQUIRE(refusal(directory / "a", good) == "");
  for (std::size_t length = 0; length < good.size(); ++length) {
    CAPTURE(length);
    CHECK(refusal(directory / "a", good.substr(0, length)) != "");
  }
  const std::size_t header_end = good.size() - 28;  // 24 bytes of floats, 4 of booleans
  int refused = 0;
  for (std::size_t bit = 0; bit < header_end * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    if (refusal(directory / "a", flipped) != "") {
      ++refused;
      continue;
    }
    const SafetensorsFile file(directory / "a");
    std::size_t bytes = 0;
    for (const std::string& name : file.names())
      bytes += static_cast<std::size_t>(file.shape(name).product()) * dtype_size(file.dtype(name));
    CHECK(bytes == 28);
  }
  CHECK(refused > static_cast<int>(header_end * 8 / 2));
}

TEST_CASE("the writer refuses what it could not read back") {
  const TemporaryDirectory directory;
  const Tensor t = Tensor::scalar(1, DType::float32);
  const auto write = [&](const std::vector<NamedTensor>& tensors, const std::map<std::string, std::string>& metadata) {
    return message_of([&] { write_safetensors(directory / "a", tensors, metadata); });
  };
  CHECK(contains(write({{"x", t}, {"x", t}}, {}), "tensor 'x' appears twice"));
  CHECK(contains(write({{"__metadata__", t}}, {}), "has the name reserved for metadata"));
  CHECK(contains(write({{"\xff", t}}, {}), "'\\xff' is not valid UTF-8"));
  CHECK(contains(write({{"x", t}}, {{"k", "\xff"}}), "'\\xff' is not valid UTF-8"));
  CHECK(contains(write({{"x", Tensor()}}, {}), "tensor 'x' is undefined"));
  CHECK(directory.entries() == 0);
}
