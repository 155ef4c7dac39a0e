// Configurations: reading, overrides, writing, help, presets, and what users get wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "core/stored_json.h"
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
    {"[nonsense]\n", "run.toml:1:2: ", "no section \"nonsense\"", "the sections are model, gpt, feedforward, data"},
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
    {"[feedforward]\nkind = 3", "run.toml:2:8: ", "feedforward.kind cannot be 3",
     "one of dense, gelu, moe, pkm, swiglu, top-k"},
    {"[model]\nprecision = bf16", "run.toml:2:", "not valid TOML", "text in double quotes"},
    {"[model]\nd_model 4", "run.toml:2:", "not valid TOML", "write key = value"},
    {"[model]\nd_model = 4\nd_model = 5", "run.toml:3:", "not valid TOML", "leave one of them out"},
    {"[model", "run.toml:1:", "not valid TOML", "as in [train], on a line of its own"},
    {"[model\nd_model = 4", "run.toml:1:", "saw '\\n'; a section", "as in [train], on a line of its own"},
    {"[model]\nd_model = [4,", "run.toml:2:", "not valid TOML", "a list ends with ]"},
    {"\xff\xfe[", "run.toml:1:", "not valid TOML", "the file is UTF-16"},
    {"[data]\ntrain = \"a\\u0000b\"", "run.toml:2:9: ", "cannot be the text \"a\\u0000b\"", "without NUL"},
    {"[data]\ntrain = \"\xff\xfe\"", "run.toml:2:", "not valid TOML", "save the file as UTF-8"},
    {"[checkpoint]\nkeep_best = \"yes\"", "run.toml:2:13: ", "cannot be the text \"yes\"", "give true or false"},
    {"[checkpoint]\nkeep_last = 0", "run.toml:2:13: ", "checkpoint.keep_last cannot be 0", "1 to"},
    {"preset = \"quikstart\"", "run.toml:1:10: ", "no preset \"quikstart\"", "did you mean quickstart?"},
    {"preset = 3", "run.toml:1:10: ", "preset takes a name", "preset = \"quickstart\""},
    {"[feedforward]\nk = 9\n[train]\nsteps = 9", "feedforward.k = 9 (run.toml:2:5) is more",
     "feedforward.experts = 8 (default)", "lower k"},
    {"[feedforward]\nkind = \"top-k\"\nd_ff = 8\nk = 9\n[train]\nsteps = 9", "feedforward.k = 9 (run.toml:4:5)",
     "feedforward.d_ff = 8 (run.toml:3:8)", "raise d_ff"},
    {"[feedforward]\nkind = \"pkm\"\nsub_keys = 3\nk = 10\n[train]\nsteps = 9", "feedforward.k = 10 (run.toml:4:5)",
     "the 9 values of feedforward.sub_keys = 3 (run.toml:3:12)", "add sub-keys"},
    {"[model]\nd_model = 31\n[feedforward]\nkind = \"pkm\"\n[train]\nsteps = 9",
     "model.d_model = 31 (run.toml:2:11) is odd", "feedforward.kind = \"pkm\" (run.toml:4:8)", "make d_model even"},
    {"[feedforward]\nkind = \"pkm\"\ninit = \"switch\"\n[train]\nsteps = 9",
     "feedforward.init = \"switch\" (run.toml:3:8) is for experts", "feedforward.kind = \"pkm\" (run.toml:2:8)",
     "dense-equivalent"},
    {"\"a\\u001b[31m\" = 3", "run.toml:1:1: ", "a\\u001b[31m", "--keys"},
};

const Mistake override_mistakes[] = {
    {"model.d_modle=4", "argument \"model.d_modle=4\": ", "no key", "did you mean model.d_model?"},
    {"--model.d_model=4", "argument ", "no key", "did you mean model.d_model?"},
    {"d_model=4", "argument ", "no key", "did you mean model.d_model?"},
    {"model=4", "argument ", "model is a section", "such as model.kind"},
    {"model.d_model", "argument ", "section.key=value", "model.d_model=128"},
    {"=4", "argument ", "section.key=value", "train.seed=1"},
    {"model.d_model=", "argument ", "model.d_model: not an integer: \"\"", "give an integer, 1 to 65536"},
    {"model.d_model=12x", "argument ", "not an integer: \"12x\"", "give an integer"},
    {"model.d_model=1,000", "argument ", "not an integer: \"1,000\"", "give an integer"},
    {"model.d_model=1e99", "argument ", "cannot be 1e+99", "give an integer"},
    {"train.steps=99999999999999999999999", "argument ", "train.steps cannot be 1e+23", "0 to"},
    {"train.seed=-1", "argument ", "train.seed cannot be -1", "at least 0"},
    {"optimizer.lr=1e999", "argument ", "not a number: \"1e999\"", "give a number"},
    {"optimizer.lr=0,001", "argument ", "not a number: \"0,001\"", "numbers have a point: 0.001"},
    {"optimizer.lr=nan", "argument ", "cannot be nan", "give a number"},
    {"optimizer.lr=-nan", "argument ", "cannot be nan", "give a number"},
    {"model.precision=bfloat16", "argument ", "cannot be the text \"bfloat16\"", "did you mean bf16?"},
    {"model.precision=FP32", "argument ", "cannot be the text \"FP32\"", "did you mean float32?"},
    {"model.d_model=1_", "argument ", "not an integer: \"1_\"", "give an integer"},
    {"train.seed=99999999999999999999", "argument ", "train.seed cannot be 1e+20",
     "give an integer, 0 to 9223372036854775807"},
    {"train.seed=1e17", "argument ", "train.seed cannot be 1e+17", "give an integer in digits, at least 0"},
    {"temper=4", "argument ", "no key", "did you mean sample.temperature?"},
    {"checkpoint.keep_best=1", "argument ", "cannot be 1", "give true or false"},
    {"feedforward.gate=softmx", "argument ", "cannot be the text \"softmx\"", "did you mean softmax?"},
    {"feedforward.selection=sinkhron", "argument ", "one of assignment, bias-balanced, expert-choice, random, sinkhorn",
     "did you mean sinkhorn?"},
    {"data.train=\xff", "argument ", "data.train cannot be", "text in UTF-8"},
    {"sample.prompt=\"a\\qb\"", "argument ", "not a TOML string", "backslash"},
    {"model.dropout=1", "argument ", "model.dropout cannot be 1", "below 1"},
    // Rules that join two fields: both keys are named.
    {"feedforward.k=17", "feedforward.k = 17 (command line) is more",
     "feedforward.experts = 16 (preset quickstart): ", "lower k"},
    {"feedforward.hidden_k=257", "feedforward.hidden_k = 257 (command line)", "the 256 hidden units", "or give 0"},
    {"feedforward.selection=assignment", "feedforward.selection = \"assignment\" (command line)",
     "feedforward.k = 4 (preset quickstart)", "set feedforward.k = 1, or"},
    {"feedforward.selection=random", "feedforward.regulariser = \"entropy\" (preset quickstart)",
     "\"random\" (command line)", "set feedforward.regulariser = \"none\""},
    {"train.accumulate=3", "train.batch_size = 16 (preset quickstart)", "train.accumulate = 3 (command line)",
     "multiple"},
    {"train.tokens=10", "train.tokens = 10 (command line)", "train.batch_size", "raise tokens"},
    {"eval.max_tokens=10", "eval.max_tokens = 10 (command line)", "eval.batch_size", "raise max_tokens"},
    {"optimizer.min_lr=1", "optimizer.min_lr = 1 (command line)", "optimizer.lr = 0.003 (preset quickstart)",
     "lower min_lr"},
    {"train.minutes=0", "optimizer.schedule = \"cosine\" (preset quickstart) needs",
     "train.minutes = 0 (command line), and so", "or optimizer.schedule = \"constant\""},
    {"sample.top_k=300", "sample.top_k = 300 (command line)", "model.vocabulary = 256", "or give 0"},
    {"model.vocabulary=1", "model.vocabulary = 1 (command line)", "at least 2", "what the data has"},
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

// A section that is for one kind of something, and is written where that is chosen.
void use_section(Config& config, const std::string& section) {
  for (const auto& entry : registry<OptimizerKind>().entries())
    if (entry.name == section) config.optimizer.kind = section;
  for (const auto& entry : registry<ModelKind>().entries())
    if (entry.name == section) config.model.kind = section;
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
  std::ofstream(folder / "table.toml") << "seeds = 3\n[[variant]]\nname = \"a\"\n";
  CHECK(load(folder / "table.toml") ==
        folder / "table.toml: this is the file of a sweep, with [[variant]] tables; train "
                 "them with: weir sweep " +
            (folder / "table.toml"));
  std::ofstream(folder / "dataset.json") << "{}";
  CHECK(load(folder.path()).ends_with(": weir train quickstart data.train=" + folder.path()));
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

TEST_CASE("config: people's words for keys lead to ours") {
  Config config;
  const FieldList list = fields_of(config);
  const std::pair<const char*, const char*> words[] = {
      {"vocab_size", "model.vocabulary"},
      {"model.vocab_size", "model.vocabulary"},
      {"block_size", "model.segment"},
      {"model.block_size", "model.segment"},
      {"learning_rate", "optimizer.lr"},
      {"train.learning_rate", "optimizer.lr"},
      {"--learning-rate", "optimizer.lr"},
      {"lr", "optimizer.lr"},
      {"learning_rte", "optimizer.lr"},
      {"n_layer", "model.layers"},
      {"n_embd", "model.d_model"},
      {"epochs", "train.steps or train.tokens"},
      {"train.max_iters", "train.steps"},
      {"model.hidden_size", "model.d_model"},
      {"model.num_experts", "feedforward.experts"},
      {"top_k", "feedforward.k or sample.top_k"},
      {"moe.top_k", "feedforward.k"},
      {"generate.top_k", "sample.top_k"},
      {"weight_decay", "optimizer.weight_decay"},
      {"Batch_Size", "train.batch_size or eval.batch_size"},
      {"training.batch-size", "train.batch_size"},
      {"gradient_accumulation_steps", "train.accumulate"},
      {"dtype", "model.precision"},
      {"optim.max_grad_norm", "optimizer.clip"},
      {"save_steps", "checkpoint.every"},
  };
  for (const auto& [word, key] : words) {
    CAPTURE(word);
    const std::string message = message_of([&, w = word] { find_field(list, w, "here"); });
    CHECK(message.find(std::string("did you mean ") + key + "?") != std::string::npos);
  }
  CHECK(message_of([&] { find_field(list, "xyzzy_plugh", "here"); }).find("--keys") != std::string::npos);
  CHECK(message_of([&] { find_field(list, "train.device", "here"); }).ends_with("; use the option --device"));
  CHECK(section_hint(list, "optim") == "; did you mean optimizer?");
  CHECK(section_hint(list, "Training") == "; did you mean train?");
}

TEST_CASE("config: every row of the table of synonyms is of a key or section of ours, or says what to use") {
  Config config;
  const FieldList list = fields_of(config);
  for (const Synonyms& synonyms : list.synonyms) {
    CAPTURE(synonyms.name);
    const bool is_field = std::any_of(list.fields.begin(), list.fields.end(),
                                      [&](const Field& field) { return field.key() == synonyms.name; });
    const bool is_section = std::any_of(list.sections.begin(), list.sections.end(),
                                        [&](const Section& section) { return section.name == synonyms.name; });
    CHECK((is_field || is_section || synonyms.name.find(' ') != std::string_view::npos));
  }
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
    Config chosen = original;
    use_section(chosen, fields_of(original).fields[i].section);
    Config changed = chosen;
    const Field field = fields_of(changed).fields[i];
    CAPTURE(field.key());
    set_field(field, another_value(field), "test");
    CHECK_FALSE(changed == chosen);
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
  for (const Field& field : list.fields) {
    CAPTURE(field.key());
    Config chosen;
    use_section(chosen, field.section);
    const std::string toml = to_toml(chosen);
    const StoredJson json = StoredJson::parse(to_json(chosen), "config", refuse_stored);
    CHECK(help.find("  " + field.key() + " = " + value_text(field) + "\n") != std::string::npos);
    CHECK(tables.find("| `" + field.key() + "` | ") != std::string::npos);
    CHECK(field.help.size() > 10);
    CHECK(toml.find("\n" + field.name + " = " + value_text(field) + "\n") != std::string::npos);
    CHECK(toml.find("# " + field.help + " (") != std::string::npos);
    CHECK((field.section.empty() ? json : json.object(field.section)).has(field.name));
  }
  const StoredJson json = StoredJson::parse(to_json(config), "config", refuse_stored);
  CHECK(json.object("model").count("d_model") == 128);
  CHECK(json.object("checkpoint").flag("keep_best"));
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
  CHECK(load({"train.steps=1_000"}).train.steps == 1000);
  CHECK(load({"optimizer.lr=0.000_5"}).optimizer.lr == 0.0005);
  CHECK(load({"name=a_1_2"}).name == "a_1_2");
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

TEST_CASE("config: what stands in quotes is a text, or refused") {
  CHECK(unquote("\"a\\\"\\n\"", "x") == "a\"\n");
  for (const char* other : {"", "2", "true", "[\"a\"]", "1979-05-27", "\"a", "\"a\" b\"", "\"a\"\n"})
    CHECK_THROWS_AS(unquote(other, "x"), ArgumentError);
}

TEST_CASE("text: distances, quotes, cuts") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ab", "ba") == 1);
  CHECK(did_you_mean("xyz", std::vector<std::string>{"model"}).empty());
  // The beginning of one name is that name; of several, none.
  CHECK(nearest_name("--temp", std::vector<std::string>{"--tokens", "--temperature"}) == "--temperature");
  CHECK(nearest_name("quick", std::vector<std::string>{"quickstart", "quickstart-dense"}).empty());
  CHECK(quote("a\"\n\x1b\x7f\xc2\x9b") == "\"a\\\"\\n\\u001b\\u007f\\u009b\"");
  CHECK(quote("\xc2\xa0\xc3\xa4") == "\"\xc2\xa0\xc3\xa4\"");
  CHECK(quote("\xff") == "\"\xef\xbf\xbd\"");
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "x\xc3\xa4";
  CHECK(is_utf8(quote_short(umlauts)));
  CHECK(quote_short(umlauts).size() < 70);
  CHECK_FALSE(is_utf8("\xc3"));
}
