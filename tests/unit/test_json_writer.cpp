// JSON as it is printed: beside what the parser of nlohmann-json reads from it.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/json_writer.h"
#include "core/text.h"

using namespace weir;

TEST_CASE("json writer: values") {
  CHECK(Json().text() == "null");
  CHECK(Json(true).text() == "true");
  CHECK(Json(std::numeric_limits<std::uint64_t>::max()).text() == "18446744073709551615");
  CHECK(Json(std::numeric_limits<std::int64_t>::min()).text() == "-9223372036854775808");
  CHECK(Json("a").text() == "\"a\"");
  CHECK(Json(std::vector{1, 2}).text() == "[1,2]");
  CHECK(Json(JsonList{}).text() == "[]");
  CHECK(Json(JsonObject{}).text() == "{}");
  CHECK(Json(JsonObject{{"b", 1}, {"a", JsonObject{{"x", "y"}}}, {"c", JsonList{nullptr, 2.5}}}).text() ==
        R"({"a":{"x":"y"},"b":1,"c":[null,2.5]})");
}

TEST_CASE("json writer: indented as another writer does it") {
  const Json value(JsonObject{{"texts", JsonList{"a, \"b\": [", "\\", "{}"}},
                              {"empty", JsonList{JsonObject(), JsonList()}},
                              {"deep", JsonObject{{"x", JsonObject{{"y", 2.5}, {"z", nullptr}}}}}});
  CHECK(indented(value) == nlohmann::json::parse(value.text()).dump(1));
  for (const Json& small : {Json(JsonObject()), Json(JsonList()), Json("a: {"), Json(7)})
    CHECK(indented(small) == small.text());
}

TEST_CASE("json writer: numbers are the shortest that read back as the same bits, and stay numbers with a point") {
  CHECK(Json(0.1).text() == "0.1");
  CHECK(Json(3.0).text() == "3.0");
  CHECK(Json(-0.0).text() == "-0.0");
  CHECK(Json(1e300).text() == "1e+300");
  CHECK(Json(std::nan("")).text() == "null");
  CHECK(Json(std::numeric_limits<double>::infinity()).text() == "null");
  for (const double number : {1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789012345680.0, 1e15, 1e16, 0.0001, 1e-5})
    CHECK(nlohmann::json::parse(Json(number).text()).get<double>() == number);
}

// Every pair of bytes, and sequences of more that break off at every place.
TEST_CASE("json writer: texts of any bytes are read back as another writer's are") {
  std::vector<std::string> texts{"",
                                 "\xf0\x9f\x98\x80",
                                 "\xe2\x82",
                                 "\xe2\x82x",
                                 "\xf0\x9f\x98",
                                 "\xf0\x9fx\x98",
                                 "\xf0\x8f\x98\x80",
                                 "\xf4\x90\x80\x80",
                                 "\xed\xa0\x80",
                                 "\xe0\x9f\x80",
                                 "\xf8\x88\x80\x80\x80"};
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) texts.push_back({static_cast<char>(a), static_cast<char>(b)});
  for (const std::string& text : texts) {
    const std::string written = Json(text).text();
    const auto replaced = nlohmann::json::error_handler_t::replace;
    const std::string other = nlohmann::json(text).dump(-1, ' ', false, replaced);
    CHECK(nlohmann::json::parse(written) == nlohmann::json::parse(other));
    CHECK(is_utf8(written));
    for (std::size_t i = 0; i < written.size(); ++i) {  // nothing that a terminal would take as a command
      const auto byte = static_cast<unsigned char>(written[i]);
      CHECK((byte >= 0x20 && byte != 0x7f));
      if (byte == 0xc2) CHECK(static_cast<unsigned char>(written[i + 1]) >= 0xa0);
    }
  }
}
