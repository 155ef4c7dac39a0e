// What training reads: streams side by side, and windows from anywhere.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "corpus_of.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/batch_source.h"

using namespace weir;

TEST_CASE("streams cover consecutive blocks, targets one token later") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 75, [](std::size_t i) { return static_cast<int>(i); });
  const StreamReader reader(corpus, {3, 6});  // 12 blocks of 6, 4 per stream; 2 bytes left over
  CHECK(reader.blocks_per_epoch() == 4);
  for (std::int64_t block = 0; block < 4; ++block) {
    const Batch batch = reader.read({0, block}, 1, 2);
    CHECK(batch.inputs.shape() == Shape{2, 6});
    const auto inputs = batch.inputs.values(), targets = batch.targets.values();
    for (std::int64_t b = 0; b < 2; ++b)
      for (std::int64_t t = 0; t < 6; ++t) {
        const double expected = static_cast<double>((b + 1) * 24 + block * 6 + t);
        CHECK(inputs[static_cast<std::size_t>(b * 6 + t)] == expected);
        CHECK(targets[static_cast<std::size_t>(b * 6 + t)] == expected + 1);
      }
  }
  CHECK_THROWS_AS(reader.read({0, 4}, 0, 1), InternalError);
  CHECK_THROWS_AS(reader.read({0, 0}, 2, 2), InternalError);
  CHECK(StreamReader(corpus.part(0, 73), {3, 6}).blocks_per_epoch() == 4);
  CHECK(StreamReader(corpus.part(0, 72), {3, 6}).blocks_per_epoch() == 3);  // the last target is missing
  CHECK(StreamReader(corpus.part(0, 19), {3, 6}).blocks_per_epoch() == 1);
  for (std::int64_t size : {0, 1, 18}) {
    const std::string message = error_message([&] {
      StreamReader(corpus.part(0, size), {3, 6, 0, "eval.batch_size"});
    });
    CAPTURE(message);
    CHECK(message.find("at least 19") != std::string::npos);
    CHECK(message.find("eval.batch_size") != std::string::npos);
    CHECK(message.find(corpus.name()) != std::string::npos);
  }
}

TEST_CASE("windows: whole sequences from anywhere, the same ones when read again") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 200, [](std::size_t i) { return static_cast<int>(i); });
  const auto windows = registry<BatchKind>().find("windows")(corpus, {4, 6, 7});
  CHECK(windows->blocks_per_epoch() == 8);
  CHECK_FALSE(windows->is_continuous());
  std::vector<int> begun(200);
  for (std::int64_t epoch = 0; epoch < 300; ++epoch)
    for (std::int64_t block = 0; block < 8; ++block) {
      const Batch batch = windows->read({epoch, block}, 0, 4);
      const auto inputs = batch.inputs.values(), targets = batch.targets.values();
      for (std::size_t i = 0; i < 24; ++i) REQUIRE(targets[i] == inputs[i] + 1);
      for (std::size_t b = 0; b < 4; ++b) {
        for (std::size_t t = 0; t < 6; ++t) REQUIRE(inputs[b * 6 + t] == inputs[b * 6] + static_cast<double>(t));
        ++begun[static_cast<std::size_t>(inputs[b * 6])];
      }
      CHECK(same_bits(windows->read({epoch, block}, 2, 1).inputs, slice_view(batch.inputs, 0, 2, 3)));
    }
  // 9600 draws over the 194 places with six tokens and one more after them, 49 each: none is left out, nor beyond.
  for (std::size_t i = 0; i < 200; ++i) {
    CAPTURE(i);
    CHECK((i < 194 ? begun[i] > 15 && begun[i] < 100 : begun[i] == 0));
  }
  CHECK(same_bits(windows->read({3, 2}, 0, 4).inputs, windows->read({3, 2}, 0, 4).inputs));
  CHECK_FALSE(same_bits(windows->read({3, 2}, 0, 4).inputs, windows->read({4, 2}, 0, 4).inputs));
}

TEST_CASE("windows: no memory goes with them") {
  const TemporaryDirectory folder;
  const Corpus corpus = corpus_of(folder, 400, [](std::size_t i) { return static_cast<int>(i); });
  Config config;
  config.data.order = "windows";
  config.train.batch_size = 2;
  config.model.segment = 8;
  CHECK(error_message([&] { open_batches(config, corpus); }) ==
        "data.order = \"windows\" reads sequences that do not continue each other, of which model.memory = 8 keeps "
        "tokens: set model.memory = 0, or data.order = \"streams\"");
  config.model.memory = 0;
  CHECK(open_batches(config, corpus)->blocks_per_epoch() == 24);
}
