// A registry of kinds that only this test knows, and the settings of one of them in a configuration.
#include <doctest/doctest.h>

#include "core/registry.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

struct Outline {  // a kind of thing with a setting of its own, as a program outside would have it
  using Function = double (*)(double);
  static constexpr const char* setting = "plot.shape";
};
struct CircleSettings {
  double radius = 1;
  void visit(FieldVisitor& v) { v.field("radius", radius, {.above = 0}, "radius in metres"); }
  bool operator==(const CircleSettings&) const = default;
};
const bool added =
    registry<Outline>().add({"square", "with four sides", [](double x) { return x * x; }}) &&
    registry<Outline>().add({"circle", "round", [](double x) { return 3 * x * x; }, OwnSettings::of<CircleSettings>()});

struct Plot {
  std::string shape = "square";
  SettingsByName<Outline> own;
  struct Main {
    std::string* shape;
    void visit(FieldVisitor& v) { v.field("shape", *shape, registry<Outline>().names(), "what is drawn"); }
  };
  void visit(FieldVisitor& v) {
    Main main{&shape};
    v.section("plot", main, "The plot.");
    own.visit(v, shape);
  }
  bool operator==(const Plot&) const = default;
};

}  // namespace

TEST_CASE("registry: entries by name, and none twice") {
  CHECK(registry<Outline>().names() == Choices{"circle", "square"});
  CHECK(registry<Outline>().find("square")(3) == 9);
  CHECK(error_message([] { registry<Outline>().find("sqare"); }) ==
        "plot.shape: there is no \"sqare\"; did you mean square?; choose one of circle, square");
  CHECK(registry<Outline>().help("what is drawn") == "what is drawn: circle (round), square (with four sides)");
}

TEST_CASE("registry: an entry's own settings are a section, in use where it is chosen") {
  Plot plot;
  set_field(find_field(fields_of(plot), "circle.radius", "test"), 2.5, "test");
  CHECK(plot.own.get<CircleSettings>().radius == 2.5);
  CHECK(write_toml(fields_of(plot)).find("radius") == std::string::npos);
  plot.shape = "circle";
  CHECK(write_toml(fields_of(plot)).find("\n# plot.shape = \"circle\": round.\n[circle]\n") != std::string::npos);
  CHECK(write_json(fields_of(plot)) == R"({"plot":{"shape":"circle"},"circle":{"radius":2.5}})");
  CHECK(error_message([&] { set_field(find_field(fields_of(plot), "circle.radius", "test"), 0.0, "test"); }) != "");
  Plot copy = plot;
  CHECK(copy == plot);
  copy.own.get<CircleSettings>().radius = 3;
  CHECK(copy != plot);
  CHECK(plot.own.get<CircleSettings>().radius == 2.5);
}
