// Stored JSON: every value has its type and its limits, and a message names file and field.
#include "core/stored_json.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "core/error.h"

using namespace weir;

namespace {

StoredJson parsed(const std::string& text) { return StoredJson::parse(text, "runs/a/state.json", refuse_stored); }

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const RunError& error) {
    CHECK(error.code() == ExitCode::bad_data);
    return error.what();
  }
  return "not refused";
}

}  // namespace

TEST_CASE("stored json: what was stored comes back") {
  const StoredJson top = parsed(
      R"({"a": "text", "b": true, "c": -2.5, "d": 9007199254740992, "e": {"f": [{"g": 0}, {"g": 7}]}, "h": null})");
  CHECK(top.text("a") == "text");
  CHECK(top.flag("b"));
  CHECK(top.number("c") == -2.5);
  CHECK(top.number("d") == 9007199254740992.0);
  CHECK(top.count("d") == 9007199254740992);
  CHECK(top.object("e").list("f")[1].count("g") == 7);
  CHECK(top.has("h"));
  CHECK_FALSE(top.has("i"));
  CHECK(top.numbers().size() == 3);
  CHECK(std::isnan(top.numbers()[2].second));
  CHECK(top.names() == std::vector<std::string>{"a", "b", "c", "d", "e", "h"});
  CHECK(top.try_count("d") == 9007199254740992);
  CHECK_FALSE(top.try_count("c"));
  CHECK_FALSE(top.try_count("d", 0, 5));
}

TEST_CASE("stored json: what has another type, or is beyond its limits, is refused by file and field") {
  const StoredJson top = parsed(R"({"outcome": 5, "step": -1, "large": 18446744073709551615, "half": 0.5, "on": "yes",
                                    "entry": [1], "entries": {"x": {"y": "z"}, "list": [{"n": 1}, 2]}})");
  const std::string file = "runs/a/state.json: ";
  CHECK(refusal([&] { top.text("outcome"); }) == file + "outcome: expected a text, found a whole number");
  CHECK(refusal([&] { top.text("absent"); }) == file + "absent: the field is missing");
  CHECK(refusal([&] { top.count("step"); }) == file + "step: it is -1, expected 0 to 9007199254740992");
  CHECK(refusal([&] { top.count("large"); }) ==
        file + "large: it is 18446744073709551615, expected 0 to 9007199254740992");
  CHECK(refusal([&] { top.count("half"); }) == file + "half: expected a whole number, found a number");
  CHECK(refusal([&] { top.count("on"); }) == file + "on: expected a whole number, found a text");
  CHECK_FALSE(top.try_count("large"));
  CHECK(top.number("large") == 0x1p64);
  CHECK(refusal([&] { top.number_list("entry", 0); }) == file + "entry: expected up to 0 numbers, found 1");
  CHECK(refusal([&] { top.object("entries").number_list("list", 9); }) ==
        file + "entries.list: expected numbers, found an object");
  CHECK(refusal([&] { top.flag("on"); }) == file + "on: expected true or false, found a text");
  CHECK(refusal([&] { top.number("on"); }) == file + "on: expected a number, found a text");
  CHECK(refusal([&] { top.object("entry"); }) == file + "entry: expected an object, found a list");
  CHECK(refusal([&] { top.objects(); }).starts_with(file));
  const StoredJson entries = top.object("entries");
  CHECK(refusal([&] { entries.object("x").count("y"); }) ==
        file + "entries.x.y: expected a whole number, found a text");
  CHECK(refusal([&] { entries.list("list"); }) == file + "entries.list[1]: expected an object, found a whole number");
  CHECK(refusal([&] { entries.texts(); }).starts_with(file + "entries."));
  CHECK(top.count("step", -1) == -1);
}

TEST_CASE("stored json: what is no whole object is refused") {
  for (const char* text : {"", "[1]", "5", "{", "{\"a\":1}}", "{\"a\":1e999}", "\xff"}) {
    CAPTURE(text);
    CHECK(refusal([&] { parsed(text); }) == "runs/a/state.json: this is not a whole JSON object");
    CHECK_FALSE(StoredJson::try_parse(text));
  }
  CHECK_FALSE(StoredJson::try_parse(std::string(500'000, '[')));
  CHECK_FALSE(StoredJson::try_parse(R"({"a": 1, "a": 1})"));
  CHECK_FALSE(StoredJson::try_parse(std::string("{}\0{}", 5)));
}
