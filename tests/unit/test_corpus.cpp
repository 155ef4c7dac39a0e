// Corpora: texts, prepared folders, and everything that reads tokens from them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <sstream>

#include "autograd/autograd.h"
#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "models/transformer_xl.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/data_watch.h"
#include "train/dataset.h"
#include "train/generate.h"
#include "train/preconditions.h"
#include "train/trainer.h"
#include "train/training_setup.h"
#include "train/training_step.h"

using namespace weir;

namespace {

using Tokens = std::vector<std::int32_t>;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Tokens of a vocabulary of 1000, which repeat only after a long time.
Tokens some_tokens(std::size_t count, int seed = 1) {
  Tokens tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<std::int32_t>((i * i + i * seed + 3) % 1000);
  return tokens;
}

// A folder with a train split of 1000 tokens in shards of 64, a valid split of 300, and bytes and words of the latter.
void write_data(const std::string& folder, int seed = 1) {
  Dataset dataset{.name = "n", .tokenizer = "n.model", .vocabulary = 1000, .splits = {}, .source = {}};
  const auto write = [&](const char* name, std::size_t count) {
    SplitWriter writer(folder, name, 1000, 64);
    writer.append(some_tokens(count, seed));
    dataset.splits[name] = writer.commit();
  };
  write("train", 1000);
  write("valid", 300);
  dataset.splits["valid"].bytes = 1234;
  dataset.splits["valid"].words = 250;
  write_dataset(folder, dataset);
}

Tokens read_all(const Corpus& corpus) {
  Tokens tokens(static_cast<std::size_t>(corpus.size()));
  corpus.read(0, tokens);
  return tokens;
}

void flip_bit(const std::string& path, std::size_t byte) {
  std::string bytes = read_file(path, 1 << 20);
  bytes[byte] = static_cast<char>(bytes[byte] ^ 1);
  std::ofstream(path, std::ios::binary) << bytes;
}

// Tokens are numbers with a blank between them; a line end is nothing, as for tokenizers that read by lines.
class Numbers final : public Tokenizer {
 public:
  std::int64_t vocabulary() const override { return 1000; }
  Tokens encode(std::string_view text) const override {
    Tokens tokens;
    std::istringstream words{std::string(text)};
    for (std::int32_t token = 0; words >> token;) tokens.push_back(token);
    return tokens;
  }
  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    for (std::int32_t token : tokens) text += (text.empty() ? "" : " ") + piece(token);
    return text;
  }
  std::string piece(std::int32_t token) const override { return std::to_string(token); }
  std::string describe() const override { return "numbers"; }
};

Config small_config() {
  Config config;
  config.model = {.vocabulary = 1000, .d_model = 12, .layers = 1, .heads = 2, .head_size = 6, .segment = 8};
  config.feedforward = {.kind = "dense", .d_ff = 16};
  config.train = {.batch_size = 3};
  resolve(config);
  return config;
}

}  // namespace

TEST_CASE("corpora: across shards the tokens are those of one array") {
  const TemporaryDirectory folder;
  write_data(folder.path());
  const Corpus corpus = Corpus::split(folder.path(), "train");
  const Tokens expected = some_tokens(1000);
  CHECK(corpus.size() == 1000);
  CHECK(corpus.vocabulary() == 1000);
  CHECK(corpus.name() == folder.path() + " (train)");
  CHECK(corpus.tokenizer() == folder / "n.model");
  CHECK_FALSE(corpus.is_bytes());
  CHECK_FALSE(corpus.bytes_per_token().has_value());
  corpus.verify();
  CHECK(read_all(corpus) == expected);
  for (const std::int64_t begin : {0, 1, 63, 64, 65, 500, 935})
    for (const std::int64_t count : {0, 1, 2, 63, 64, 65}) {
      Tokens piece(static_cast<std::size_t>(count));
      corpus.read(begin, piece);
      CHECK(piece == Tokens(expected.begin() + begin, expected.begin() + begin + count));
    }
  Tokens two(2);
  CHECK_THROWS_AS(corpus.read(999, two), InternalError);
  CHECK_THROWS_AS(corpus.part(100, 200).read(99, two), InternalError);
  const Corpus part = corpus.part(100, 900).part(10, 300);
  CHECK(part.size() == 290);
  CHECK(read_all(part) == Tokens(expected.begin() + 110, expected.begin() + 400));
}

TEST_CASE("corpora: streams over shards") {
  const TemporaryDirectory folder;
  write_data(folder.path());
  const Corpus corpus = Corpus::split(folder.path(), "train");
  const Tokens all = some_tokens(1000);
  const StreamReader reader(corpus, {3, 7});  // 142 blocks, 47 per stream
  CHECK(reader.blocks_per_epoch() == 47);
  for (std::int64_t block = 0; block < 47; ++block) {
    const Batch batch = reader.read({0, block}, 0, 3);
    const auto inputs = batch.inputs.values(), targets = batch.targets.values();
    for (std::size_t i = 0; i < 21; ++i) {
      const std::size_t at = (i / 7 * 47 + static_cast<std::size_t>(block)) * 7 + i % 7;
      CHECK(inputs[i] == all[at]);
      CHECK(targets[i] == all[at + 1]);
    }
  }
}

TEST_CASE("corpora: which data a configuration means") {
  const TemporaryDirectory folder;
  const std::string data = folder / "data", text = folder / "text";
  std::filesystem::create_directory(data);
  write_data(data);
  std::ofstream(text) << std::string(400, 'x');
  CHECK(open_corpora({.train = data, .valid = {}}).train.size() == 1000);
  CHECK(open_corpora({.train = data, .valid = {}}).valid.name() == data + " (valid)");
  CHECK(open_corpora({.train = text, .valid = {}, .valid_fraction = 0.1}).train.size() == 360);
  CHECK(open_corpora({.train = text, .valid = {}, .valid_fraction = 0.1}).valid.size() == 40);
  CHECK(open_corpora({.train = text, .valid = text}).valid.size() == 400);
  CHECK(open_corpora({.train = text, .valid = {}}).train.is_bytes());
  CHECK(open_corpora({.train = data, .valid = text}).valid.vocabulary() == 256);
  Dataset dataset = read_dataset(data);
  dataset.splits.erase("valid");
  write_dataset(data, dataset);
  CHECK(open_corpora({.train = data, .valid = {}, .valid_fraction = 0.1}).valid.size() == 100);
  CHECK(contains(error_message([&] { open_corpora({}); }), "data.train=FILE"));
  CHECK(contains(error_message([&] { open_corpora({.train = folder.path(), .valid = {}}); }),
                 "this directory has no dataset.json"));
  CHECK(contains(error_message([&] { Corpus::split(data, "test"); }), "has no test split"));
}

TEST_CASE("corpora: shards that are damaged or of other data") {
  const TemporaryDirectory folder, other;
  write_data(folder.path());
  write_data(other.path(), 2);
  const std::string shard = folder / "train-00003.tokens";
  const auto refusal = [&] { return error_message([&] { Corpus::split(folder.path(), "train").verify(); }); };
  CHECK(refusal().empty());
  flip_bit(shard, 70);
  CHECK(contains(refusal(), shard + ": its tokens"));
  const Corpus damaged = Corpus::split(folder.path(), "train");
  damaged.part(0, 192).verify();
  damaged.part(256, 1000).verify();
  CHECK_THROWS_AS(damaged.part(0, 193).verify(), RunError);
  CHECK_THROWS_AS(damaged.part(255, 1000).verify(), RunError);
  flip_bit(shard, 70);
  std::filesystem::copy_file(other / "train-00003.tokens", shard, std::filesystem::copy_options::overwrite_existing);
  CHECK(contains(refusal(), shard + ": its checksum is"));
  std::filesystem::copy_file(folder / "train-00015.tokens", shard, std::filesystem::copy_options::overwrite_existing);
  CHECK(contains(refusal(), shard + ": its number of tokens is 40, but dataset.json beside it says 64"));
  TokenFileWriter writer(shard, 999);
  writer.commit();
  CHECK(contains(refusal(), shard + ": its vocabulary is 999"));
  std::filesystem::remove(shard);
  CHECK(contains(refusal(), shard + ": cannot open"));
}

TEST_CASE("corpora: the checksum tells one from another") {
  const TemporaryDirectory folder, same, other;
  write_data(folder.path());
  write_data(same.path());
  write_data(other.path(), 2);
  const auto checksum = [](const TemporaryDirectory& f, const char* name) {
    return Corpus::split(f.path(), name).checksum();
  };
  CHECK(checksum(folder, "train") == checksum(same, "train"));
  CHECK(checksum(folder, "train") != checksum(other, "train"));
  CHECK(checksum(folder, "train") != checksum(folder, "valid"));
  std::ofstream(folder / "a") << "text";
  std::ofstream(folder / "b") << "texT";
  CHECK(Corpus::text(folder / "a").checksum() != Corpus::text(folder / "b").checksum());
}

TEST_CASE("corpora: evaluation counts nats per token, byte and word") {
  const TemporaryDirectory folder;
  write_data(folder.path());
  const Config config = small_config();
  TransformerXl model(config.model, config.feedforward);
  model.initialise(5, DType::float64);
  const Corpus corpus = Corpus::split(folder.path(), "valid");
  const Evaluation got = evaluate(model, corpus, {.batch_size = 2, .memory = 0});
  const Tokens all = some_tokens(300);
  const NoGradient guard;
  double nats = 0;
  std::int64_t count = 0;
  // 299 targets: 150 for the first of two streams, 149 for the second.
  for (const auto& [start, length] : {std::pair{0, 150}, std::pair{150, 149}})
    for (int begin = start; begin < start + length; begin += 8) {
      const int n = std::min(8, start + length - begin);
      const std::vector<double> ids(all.begin() + begin, all.begin() + begin + n);
      const auto logits = model(Tensor::from_values({1, n}, ids, DType::int64), {}, 0, {}).logits.values();
      for (int t = 0; t < n; ++t, ++count) {
        const double* const row = &logits[static_cast<std::size_t>(t) * 1000];
        double sum = 0;
        for (int v = 0; v < 1000; ++v) sum += std::exp(row[v]);
        nats += std::log(sum) - row[all[static_cast<std::size_t>(begin + t + 1)]];
      }
    }
  CHECK(got.tokens == count);
  CHECK(count == 299);
  CHECK(got.nats_per_token == doctest::Approx(nats / 299).epsilon(1e-12));
  CHECK(got.perplexity() == doctest::Approx(std::exp(nats / 299)));
  const double of_the_text = nats / 299 * 300;  // as if the first token were like the others
  CHECK(got.bits_per_byte().value() == doctest::Approx(of_the_text / std::numbers::ln2 / 1234));
  CHECK(got.word_perplexity().value() == doctest::Approx(std::exp(of_the_text / 250)));
  CHECK(describe(got) == fmt::format("perplexity {:.2f} per token, {:.4f} bits per byte, perplexity {:.2f} per word",
                                     got.perplexity(), *got.bits_per_byte(), *got.word_perplexity()));

  std::vector<Metric> metrics;
  append_quality(metrics, "valid", got);
  REQUIRE(metrics.size() == 4);
  CHECK(metrics[0].name == "valid/loss");
  CHECK(metrics[1].name == "valid/perplexity");
  CHECK(metrics[2].name == "valid/bits_per_byte");
  CHECK(metrics[3].name == "valid/word_perplexity");
  CHECK(metrics[3].value == *got.word_perplexity());
  CHECK(describe({.nats_per_token = 2, .is_bytes = false, .bytes_per_token = {}, .words_per_token = {}}) ==
        "perplexity 7.39 per token");
  CHECK(describe({.nats_per_token = 2, .bytes_per_token = 1, .words_per_token = {}}) == "2.8854 bits per byte");
}

TEST_CASE("corpora: generated text is what the tokenizer makes of the new tokens") {
  const Config config = small_config();
  TransformerXl model(config.model, config.feedforward);
  model.initialise(5);
  const Numbers numbers;
  const auto text = [&](const std::string& prompt, Tokens context = {}) {
    return generate(model, numbers, prompt, {.tokens = 6, .temperature = 0, .context = std::move(context)});
  };
  const std::string continued = text("5 17 900 ");
  CHECK(continued[0] == ' ');  // the blank between the prompt's last token and the first new one
  CHECK(numbers.encode(continued.substr(1) + " ").size() == 6);
  CHECK(text("900 ", {5, 17}) == continued);
  CHECK(text("\n", {5, 17, 900}) == continued);
  CHECK(text("") == text("0 "));  // this tokenizer makes nothing of a line end
  const TemporaryDirectory folder;
  write_data(folder.path());
  const Corpus corpus = Corpus::split(folder.path(), "valid");
  CHECK(context_from(corpus, config.model) == some_tokens(16));
  CHECK(context_from(corpus.part(0, 5), config.model) == some_tokens(5));
}

TEST_CASE("corpora: a model of another vocabulary is refused with both numbers") {
  const TemporaryDirectory folder;
  write_data(folder.path());
  Config config = small_config();
  config.data.train = folder.path();
  config.model.vocabulary = 256;
  const std::string message = error_message([&] { TrainingSetup{config}; });
  CHECK(contains(message, "model.vocabulary = 256, but " + folder.path() + " (train) has 1000 different tokens"));
  CHECK(contains(message, "set model.vocabulary=1000"));
}

TEST_CASE("preconditions: heads larger than a GPU takes are refused there, and there alone") {
  Config config = small_config();
  config.model.head_size = 300;
  CHECK(error_message([&] {
          TrainingSetup(config, {DeviceKind::cuda, 1});
        }) ==
        "model.head_size = 300; on cuda:1 at most 256: raise model.heads and lower model.head_size, or train on the "
        "cpu");
  CHECK_NOTHROW(check_head_size(config.model, {DeviceKind::cpu, 0}, ""));
  config.model.head_size = 256;
  CHECK_NOTHROW(check_head_size(config.model, {DeviceKind::cuda, 0}, ""));
}

TEST_CASE("corpora: a text that is overwritten in place is noticed, one that is only touched or replaced is fine") {
  const TemporaryDirectory folder;
  const std::string path = folder / "text.txt";
  write_file_synced(path, std::string(1000, 'a'));
  const Corpus corpus = Corpus::text(path);
  DataWatch watch(corpus);
  watch.check();
  ::usleep(20'000);  // the clock of file systems ticks in milliseconds
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now());
  watch.check();
  ::usleep(20'000);
  std::fstream(path, std::ios::in | std::ios::out) << "b";
  CHECK_THROWS_WITH_AS(watch.check(), doctest::Contains("this text was changed while the run went on"), RunError);
  std::fstream(path, std::ios::in | std::ios::out) << "a";
  watch.check();
  write_file_atomically(path, std::string(1000, 'c'));
  watch.check();
}

TEST_CASE("corpora: a folder of byte tokens trains like the text it was made from, and resumes") {
  const TemporaryDirectory folder;
  const std::string text = folder / "text", data = folder / "data";
  std::filesystem::create_directory(data);
  std::string bytes;
  for (std::int32_t token : some_tokens(3000)) bytes += static_cast<char>(token % 91);
  std::ofstream(text, std::ios::binary) << bytes;
  Dataset dataset{.name = "n", .splits = {}, .source = {}};
  for (const char* name : {"train", "valid"}) {
    SplitWriter writer(data, name, 256, 500);
    writer.append(ByteTokenizer().encode(bytes));
    dataset.splits[name] = writer.commit();
  }
  write_dataset(data, dataset);
  Config config = small_config();
  config.model.vocabulary = 256;
  config.train.steps = 8;
  config.eval.every = config.sample.every = 4;
  config.sample.tokens = 5;
  const auto weights = [&](const std::string& name, const std::string& train_on, const std::string& valid) {
    Config c = config;
    c.data = {.train = train_on, .valid = valid, .encoding = "bytes"};
    const RunDirectory run(folder / name);
    train(c, run, {.quiet = true, .should_stop = [](std::int64_t steps) { return steps == 3; }});
    const TrainingResult result = train(c, run, {.resume = true, .quiet = true});
    CHECK(contains(read_file(run.file("metrics.jsonl"), 1 << 20), "\"valid/bits_per_byte\":"));
    return read_file(result.checkpoint + "/model.safetensors", 1 << 20);
  };
  CHECK(weights("a", text, text) == weights("b", data, ""));
}

namespace {

// What the calls of this process have read so far, in bytes.
std::int64_t bytes_read() {
  std::ifstream file("/proc/self/io");
  std::string name;
  std::int64_t bytes = 0;
  file >> name >> bytes;
  return bytes;
}

void write_byte_data(const std::string& folder, const std::string& text) {
  std::filesystem::create_directory(folder);
  Dataset dataset{.name = "n", .splits = {}, .source = {}};
  for (const char* name : {"train", "valid"}) {
    SplitWriter writer(folder, name, 256, 1 << 20);
    writer.append(ByteTokenizer().encode(text));
    dataset.splits[name] = writer.commit();
  }
  write_dataset(folder, dataset);
}

}  // namespace

TEST_CASE("training: data is read once before the first step, and what was opened then is what is trained on") {
  const TemporaryDirectory folder;
  std::string words;
  while (words.size() < (std::size_t{2} << 20)) words += "a river, " + std::to_string(words.size()) + " stones\n";
  write_file_synced(folder / "text", words);
  write_byte_data(folder / "data", words);
  Config config = small_config();
  config.model.vocabulary = 256;
  config.train.steps = 2;
  config.eval.every = config.sample.every = 0;
  config.eval.max_tokens = 64;
  for (const std::string name : {"text", "data"}) {
    CAPTURE(name);
    const std::int64_t splits = name == "data" ? 2 : 1, before = bytes_read();
    config.data.train = folder / name;
    train(config, RunDirectory(folder / "run-" + name), {.quiet = true});
    CHECK(bytes_read() - before < splits * std::ssize(words) * 5 / 4);
    TrainingSetup setup(config);
    std::filesystem::rename(folder / name, folder / "elsewhere-" + name);
    CHECK(train(std::move(setup), RunDirectory(folder / "again-" + name), {.quiet = true}).steps == 2);
  }
}
