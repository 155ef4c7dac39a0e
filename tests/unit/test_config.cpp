// Configurations: reading, overrides, writing, help, presets, and what users get wrong.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/config.h"
#include "train/presets.h"

using namespace weir;

namespace {

// The message of the error that `call` throws; empty where it throws none.
template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

std::string toml_message(const std::string& text) {
  return message_of([&] { parse_config(text, "run.toml"); });
}

std::string override_message(const std::string& argument) {
  return message_of([&] { load_config("quickstart", std::vector{argument}); });
}

struct Mistake {
  const char* input;
  const char* where;
  const char* what;
  const char* advice;
};

void check_mistake(const Mistake& mistake, const std::string& message) {
  CAPTURE(mistake.input);
  CAPTURE(message);
  CHECK(message.starts_with(mistake.where));
  CHECK(message.find(mistake.what) != std::string::npos);
  CHECK(message.find(mistake.advice) != std::string::npos);
  CHECK(message.find_first_of("\r\n\x1b") == std::string::npos);
  CHECK(message.size() < 300);
}

const Mistake toml_mistakes[] = {
    {"[model]\nd_modle = 4", "run.toml:2:1: ", "no key \"model.d_modle\"", "did you mean model.d_model?"},
    {"[modle]\nd_model = 4", "run.toml:1:2: ", "no section \"modle\"", "did you mean model?"},
    {"[nonsense]\n", "run.toml:1:2: ", "no section \"nonsense\"", "the sections are model, feedforward, data"},
    {"[model]\nk = 4", "run.toml:2:1: ", "no key \"model.k\"", "did you mean feedforward.k?"},
    {"d_model = 4", "run.toml:1:1: ", "no key \"d_model\"", "did you mean model.d_model?"},
    {"zzzzzz = 4", "run.toml:1:1: ", "no key \"zzzzzz\"", "'weir train --keys' lists every key"},
    {"model = 4", "run.toml:1:1: ", "model is a section", "write [model] on a line of its own"},
    {"[model]\nd_model = \"big\"", "run.toml:2:11: ", "model.d_model cannot be the text \"big\"",
     "give an integer, 1 to 65536, such as 128"},
    {"[model]\nd_model = 0", "run.toml:2:11: ", "model.d_model cannot be 0", "1 to 65536"},
    {"[model]\nd_model = 1.5", "run.toml:2:11: ", "model.d_model cannot be 1.5", "give an integer"},
    {"[model]\nd_model = 1e300", "run.toml:2:11: ", "cannot be 1e+300", "give an integer"},
    {"[model]\nd_model = 99999999999999999999", "run.toml:2:", "not valid TOML", "write key = value"},
    {"[model]\nd_model = true", "run.toml:2:11: ", "cannot be true", "give an integer"},
    {"[model]\nd_model = [1, 2]", "run.toml:2:11: ", "cannot be a list", "give one number"},
    {"[model.d_model]\nx = 1", "run.toml:1:", "model.d_model cannot be a section", "give one number"},
    {"[train]\nminutes = 2020-01-01", "run.toml:2:11: ", "cannot be a date or time", "give one number"},
    {"[optimizer]\nlr = nan", "run.toml:2:6: ", "optimizer.lr cannot be nan", "above 0 and at most 1000"},
    {"[optimizer]\nlr = inf", "run.toml:2:6: ", "optimizer.lr cannot be inf", "give a number"},
    {"[optimizer]\nlr = 0", "run.toml:2:6: ", "optimizer.lr cannot be 0", "above 0"},
    {"[optimizer]\nbeta2 = 1.0", "run.toml:2:9: ", "optimizer.beta2 cannot be 1", "at least 0 and below 1"},
    {"[feedforward]\nkind = \"mo\"", "run.toml:2:8: ", "feedforward.kind cannot be", "did you mean moe?"},
    {"[feedforward]\nkind = 3", "run.toml:2:8: ", "feedforward.kind cannot be 3", "one of dense, top-k, pkm, moe"},
    {"[model]\nprecision = bf16", "run.toml:2:", "not valid TOML", "text in double quotes"},
    {"[model]\nd_model 4", "run.toml:2:", "not valid TOML", "write key = value"},
    {"[model]\nd_model = 4\nd_model = 5", "run.toml:3:", "not valid TOML", "write key = value"},
    {"[model", "run.toml:1:", "not valid TOML", "write key = value"},
    {"[data]\ntrain = \"a\\u0000b\"", "run.toml:2:9: ", "cannot be the text \"a\\u0000b\"", "without NUL"},
    {"[data]\ntrain = \"\xff\xfe\"", "run.toml:2:", "not valid TOML", "write key = value"},
    {"[checkpoint]\nkeep_best = \"yes\"", "run.toml:2:13: ", "cannot be the text \"yes\"", "give true or false"},
    {"[checkpoint]\nkeep_last = 0", "run.toml:2:13: ", "checkpoint.keep_last cannot be 0", "1 to"},
    {"preset = \"quikstart\"", "run.toml:1:10: ", "no preset \"quikstart\"", "did you mean quickstart?"},
    {"preset = 3", "run.toml:1:10: ", "preset takes a name", "preset = \"quickstart\""},
    {"[feedforward]\nk = 9\n[train]\nsteps = 9", "run.toml: feedforward.k = 9", "feedforward.experts = 8", "lower k"},
    {"[feedforward]\nkind = \"top-k\"\nd_ff = 8\nk = 9\n[train]\nsteps = 9", "run.toml: feedforward.k = 9",
     "feedforward.d_ff = 8", "raise d_ff"},
    {"[feedforward]\nkind = \"pkm\"\nsub_keys = 3\nk = 10\n[train]\nsteps = 9", "run.toml: feedforward.k = 10",
     "the 9 values of feedforward.sub_keys = 3", "add sub-keys"},
    {"[model]\nd_model = 31\n[feedforward]\nkind = \"pkm\"\n[train]\nsteps = 9", "run.toml: model.d_model = 31",
     "feedforward.kind = \"pkm\"", "make d_model even"},
    {"[feedforward]\nkind = \"pkm\"\ninit = \"switch\"\n[train]\nsteps = 9", "run.toml: feedforward.init",
     "feedforward.kind = \"pkm\"", "dense-equivalent"},
    {"\"a\\u001b[31m\" = 3", "run.toml:1:1: ", "a\\u001b[31m", "--keys"},
};

const Mistake override_mistakes[] = {
    {"model.d_modle=4", "argument \"model.d_modle=4\": ", "no key", "did you mean model.d_model?"},
    {"--model.d_model=4", "argument ", "no key", "did you mean model.d_model?"},
    {"d_model=4", "argument ", "no key", "did you mean model.d_model?"},
    {"model=4", "argument ", "model is a section", "such as model.vocabulary"},
    {"model.d_model", "argument ", "section.key=value", "train.seed=1"},
    {"=4", "argument ", "section.key=value", "train.seed=1"},
    {"model.d_model=", "argument ", "cannot be the text \"\"", "give an integer, 1 to 65536"},
    {"model.d_model=12x", "argument ", "cannot be the text \"12x\"", "give an integer"},
    {"model.d_model=1,000", "argument ", "cannot be the text", "give an integer"},
    {"model.d_model=1e99", "argument ", "cannot be 1e+99", "give an integer"},
    {"train.steps=99999999999999999999999", "argument ", "train.steps cannot be 1e+23", "0 to"},
    {"train.seed=-1", "argument ", "train.seed cannot be -1", "at least 0"},
    {"optimizer.lr=1e999", "argument ", "cannot be the text \"1e999\"", "give a number"},
    {"optimizer.lr=nan", "argument ", "cannot be nan", "give a number"},
    {"checkpoint.keep_best=1", "argument ", "cannot be 1", "give true or false"},
    {"feedforward.gate=softmx", "argument ", "cannot be the text \"softmx\"", "did you mean softmax?"},
    {"feedforward.selection=sinkhron", "argument ", "one of assignment, random, sinkhorn", "did you mean sinkhorn?"},
    {"data.train=\xff", "argument ", "data.train cannot be", "text in UTF-8"},
    {"sample.prompt=\"a\\qb\"", "argument ", "not a TOML string", "backslash"},
    {"model.dropout=1", "argument ", "model.dropout cannot be 1", "below 1"},
    // Rules that join two fields: both keys are named.
    {"feedforward.k=9", "preset quickstart: feedforward.k = 9", "feedforward.experts = 8", "lower k"},
    {"feedforward.hidden_k=129", "preset quickstart: feedforward.hidden_k = 129", "the 128 hidden units", "or give 0"},
    {"feedforward.selection=assignment", "preset quickstart: feedforward.selection = \"assignment\"",
     "feedforward.k = 2", "set feedforward.k = 1"},
    {"feedforward.selection=random", "preset quickstart: feedforward.regulariser = \"entropy\"", "\"random\"",
     "set feedforward.regulariser = \"none\""},
    {"train.accumulate=3", "preset quickstart: train.batch_size = 16", "train.accumulate = 3", "multiple"},
    {"train.tokens=10", "preset quickstart: train.tokens = 10", "train.batch_size", "raise tokens"},
    {"eval.max_tokens=10", "preset quickstart: eval.max_tokens = 10", "eval.batch_size", "raise max_tokens"},
    {"optimizer.min_lr=1", "preset quickstart: optimizer.min_lr = 1", "optimizer.lr = 0.002", "lower min_lr"},
    {"train.steps=50", "preset quickstart: optimizer.warmup_steps = 50", "train.steps = 50", "warm-up shorter"},
    {"train.minutes=0", "preset quickstart: optimizer.schedule", "train.minutes",
     "or optimizer.schedule = \"constant\""},
    {"sample.top_k=300", "preset quickstart: sample.top_k = 300", "model.vocabulary = 256", "or give 0"},
};

// A value that the field takes and does not hold now.
FieldInput another_value(const Field& field) {
  if (const auto* choices = std::get_if<Choices>(&field.limits)) {
    return choices->front() == *std::get<std::string*>(field.value) ? choices->back() : choices->front();
  }
  if (auto* const* integer = std::get_if<std::int64_t*>(&field.value)) return **integer + 1;
  if (auto* const* number = std::get_if<double*>(&field.value)) return **number * 0.9 + 1.0 / 512;
  if (auto* const* flag = std::get_if<bool*>(&field.value)) return !**flag;
  return std::string("quote \" backslash \\ tab \t line\n del \x7f \xc3\xa4 \xc2\x9b");
}

}  // namespace

TEST_CASE("config: a mistake in a file gets one line that says where, what and what to do") {
  for (const Mistake& mistake : toml_mistakes) check_mistake(mistake, toml_message(mistake.input));
}

TEST_CASE("config: a mistake in an argument gets one line that says where, what and what to do") {
  for (const Mistake& mistake : override_mistakes) check_mistake(mistake, override_message(mistake.input));
}

TEST_CASE("config: parts of a router that do not go together") {
  const auto message = [](std::vector<std::string> changes) {
    return error_message([&] { load_config("quickstart", changes); });
  };
  for (const std::string selection : {"assignment", "random"}) {
    const std::string text = message({"feedforward.selection=" + selection, "feedforward.k=1",
                                      "feedforward.expert_dropout=0.1", "feedforward.regulariser=none"});
    CHECK(text.find(selection) != std::string::npos);
    CHECK(text.find("set feedforward.expert_dropout = 0") != std::string::npos);
    CHECK(message({"feedforward.selection=" + selection, "feedforward.k=1", "feedforward.regulariser=none"}) == "");
  }
  CHECK(message({"feedforward.gate=one", "feedforward.regulariser=importance"}).find("choose another gate") !=
        std::string::npos);
  CHECK(message({"feedforward.gate=one", "feedforward.regulariser=importance", "feedforward.regulariser_weight=0"}) ==
        "");
  CHECK(message({"feedforward.selection=random", "feedforward.regulariser_weight=0"}) == "");
  CHECK(message({"feedforward.kind=dense", "feedforward.selection=random"}) == "");
}

TEST_CASE("config: a wrong preset or path") {
  const auto load = [](const std::string& name) { return message_of([&] { load_config(name); }); };
  CHECK(load("quickstrat").find("did you mean quickstart?") != std::string::npos);
  CHECK(load("").find("'weir presets' lists them") != std::string::npos);
  CHECK(load("no/such.toml").find("\"no/such.toml\": there is no such configuration file") == 0);
  CHECK(load("/").find("\"/\": a directory; give a TOML file") == 0);
  const TemporaryDirectory folder;
  std::ofstream(folder / "large.toml") << std::string((1 << 20) + 1, '#');
  CHECK(load(folder / "large.toml").find("larger than the 1048576 bytes allowed") != std::string::npos);
  std::ofstream(folder / "small.toml") << "preset = \"quickstart\"\nname = \"tiny\"\n";
  CHECK(load_config(folder / "small.toml").name == "tiny");
}

TEST_CASE("config: absurdly deep files are refused, not followed") {
  const auto repeated = [](const char* text, int count) {
    std::string result;
    for (int i = 0; i < count; ++i) result += text;
    return result;
  };
  CHECK(toml_message("a" + repeated(".a", 100000) + " = 1").find("run.toml: more than 4096 dots") == 0);
  CHECK(toml_message("a" + repeated(".a", 4000) + " = 1").find("run.toml:1:1: there is no section \"a\"") == 0);
  CHECK(toml_message("a = " + repeated("[", 100000)).find("not valid TOML") != std::string::npos);
  CHECK(toml_message("a = " + repeated("{a=", 100000)).find("not valid TOML") != std::string::npos);
}

TEST_CASE("config: single typos in keys are recognised") {
  Config config;
  const FieldList list = fields_of(config);
  int tried = 0;
  int right = 0;
  const auto attempt = [&](const std::string& key, const std::string& typo) {
    for (const Field& field : list.fields) {
      if (field.key() == typo) return;
    }
    ++tried;
    const std::string message = message_of([&] { find_field(list, typo, "here"); });
    right += message.find("did you mean " + key + "?") != std::string::npos ? 1 : 0;
  };
  for (const Field& field : list.fields) {
    const std::string key = field.key();
    for (std::size_t i = field.section.empty() ? 0 : field.section.size() + 1; i < key.size(); ++i) {
      attempt(key, std::string(key).erase(i, 1));
      attempt(key, std::string(key).insert(i, 1, 'q'));
      attempt(key, std::string(key).replace(i, 1, "q"));
      std::string swapped = key;
      if (i + 1 < key.size()) std::swap(swapped[i], swapped[i + 1]);
      if (swapped != key) attempt(key, swapped);
    }
  }
  CHECK(tried > 1000);
  CHECK(right >= tried * 95 / 100);
}

TEST_CASE("config: every field survives the way through TOML") {
  Config original = load_config("quickstart");
  const std::size_t count = fields_of(original).fields.size();
  for (std::size_t i = 0; i < count; ++i) {
    Config changed = original;
    const Field field = fields_of(changed).fields[i];
    CAPTURE(field.key());
    set_field(field, another_value(field), "test");
    CHECK_FALSE(changed == original);
    Config read;
    read_toml(fields_of(read), to_toml(changed), "copy.toml");
    CHECK(read == changed);
  }
}

TEST_CASE("config: numbers survive bit for bit") {
  Config config = load_config("quickstart");
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1e-300, 2.0, 123456.789}) {
    config.optimizer.clip = value;
    CHECK(parse_config(to_toml(config), "copy.toml").optimizer.clip == value);
  }
  config.train.seed = std::numeric_limits<std::int64_t>::max();
  CHECK(parse_config(to_toml(config), "copy.toml").train.seed == config.train.seed);
}

TEST_CASE("config: every field is in the help, the tables, the TOML and the JSON") {
  Config config;
  const FieldList list = fields_of(config);
  CHECK(list.fields.size() > 50);
  const std::string help = help_text();
  const std::string tables = help_markdown();
  const std::string toml = to_toml(config);
  const auto json = nlohmann::json::parse(to_json(config));
  for (const Field& field : list.fields) {
    CAPTURE(field.key());
    CHECK(help.find("  " + field.key() + " = " + value_text(field) + "\n") != std::string::npos);
    CHECK(tables.find("| `" + field.key() + "` | ") != std::string::npos);
    CHECK(toml.find("\n" + field.name + " = " + value_text(field) + "\n") != std::string::npos);
    CHECK(toml.find("# " + field.help + " (") != std::string::npos);
    CHECK(field.help.size() > 10);
    CHECK((field.section.empty() ? json : json.at(field.section)).contains(field.name));
  }
  CHECK(json["model"]["d_model"] == 128);
  CHECK(json["checkpoint"]["keep_best"] == true);
}

TEST_CASE("config: the help fits 80 columns") {
  const std::string help = help_text();
  for (std::size_t begin = 0; begin < help.size();) {
    const std::size_t end = help.find('\n', begin);
    CHECK(end - begin <= 80);
    begin = end + 1;
  }
}

TEST_CASE("config: overrides") {
  const auto load = [](std::vector<std::string> arguments) { return load_config("quickstart", arguments); };
  CHECK(load({"model.d_model=256"}).model.d_model == 256);
  CHECK(load({"train.steps=1e3"}).train.steps == 1000);
  CHECK(load({"train.steps= +200 "}).train.steps == 200);
  CHECK(load({"optimizer.clip=1"}).optimizer.clip == 1.0);
  CHECK(load({"train.seed=1", "train.seed=2"}).train.seed == 2);
  CHECK(load({"sample.prompt= a = b "}).sample.prompt == " a = b ");
  CHECK(load({"sample.prompt=\"a\\tb\""}).sample.prompt == "a\tb");
  CHECK(load({"data.valid="}).data.valid.empty());
  CHECK(load({"checkpoint.keep_best=false"}).checkpoint.keep_best == false);
  CHECK(load({"name=mine"}).name == "mine");
}

TEST_CASE("config: memory follows the segment until it is set") {
  const std::vector<std::string> segment = {"model.segment=64"};
  CHECK(load_config("quickstart").model.memory == 128);
  CHECK(load_config("quickstart", segment).model.memory == 64);
  CHECK(load_config("quickstart", segment).eval.memory == 64);
  const std::vector<std::string> both = {"model.memory=0", "model.segment=64"};
  CHECK(load_config("quickstart", both).model.memory == 0);
  CHECK(ModelConfig{.segment = 32}.memory_length() == 32);
  CHECK(ModelConfig{.segment = 32, .memory = 0}.memory_length() == 0);
}

TEST_CASE("config: files and presets") {
  const Config plain = parse_config("[train]\nsteps = 1000.0", "folder/mine.toml");
  CHECK(plain.name == "mine");
  CHECK(plain.train.steps == 1000);
  CHECK(plain.model.d_model == Config{}.model.d_model);
  // The preset comes first, wherever its line stands; file and arguments change it.
  const Config derived = parse_config("preset = \"quickstart-dense\"\n[model]\nlayers = 7", "mine.toml",
                                      std::vector<std::string>{"model.heads=2"});
  CHECK(derived.feedforward.kind == "dense");
  CHECK(derived.model.layers == 7);
  CHECK(derived.model.heads == 2);
  const Config preset = load_config("quickstart");
  CHECK(parse_config(to_toml(preset), "other.toml") == preset);
  for (const std::string& name : preset_names()) {
    CHECK(load_config(name).name == name);
    CHECK(preset_help(name).size() > 10);
  }
}

TEST_CASE("config: the two quick starts have equally many parameters") {
  const Config moe = load_config("quickstart");
  const Config dense = load_config("quickstart-dense");
  CHECK(moe.model == dense.model);
  const double d = static_cast<double>(moe.model.d_model);
  const auto experts = static_cast<double>(moe.feedforward.experts);
  const double sparse_count = 2 * d * experts * static_cast<double>(moe.feedforward.expert_size) + experts * d;
  const auto d_ff = static_cast<double>(dense.feedforward.d_ff);
  const double dense_count = 2 * d * d_ff + d_ff + d;
  CHECK(std::abs(sparse_count - dense_count) <= (2 * d + 1) / 2 + 1);  // no other d_ff is nearer
}

TEST_CASE("text: distances, quotes, cuts") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ab", "ba") == 1);
  CHECK(did_you_mean("xyz", std::vector<std::string>{"model"}).empty());
  CHECK(quote("a\"\n\x1b\x7f\xc2\x9b") == "\"a\\\"\\n\\u001b\\u007f\\u009b\"");
  CHECK(quote("\xc2\xa0\xc3\xa4") == "\"\xc2\xa0\xc3\xa4\"");
  CHECK(quote("\xff") == "\"\xef\xbf\xbd\"");
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "x\xc3\xa4";
  CHECK(is_utf8(quote_short(umlauts)));
  CHECK(quote_short(umlauts).size() < 70);
  CHECK_FALSE(is_utf8("\xc3"));
}
