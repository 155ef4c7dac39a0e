// Which tokens are measured, in any number of streams, against plain loops.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numbers>

#include "autograd/autograd.h"
#include "models/transformer_xl.h"
#include "temporary_directory.h"
#include "tensor_checks.h"
#include "train/evaluate.h"

using namespace weir;

namespace {

Corpus random_text(const TemporaryDirectory& folder, std::size_t size) {
  std::string text(size, ' ');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(RandomStream{3, 0, 0}.bits(i) % 11);
  std::ofstream(folder / "text", std::ios::binary) << text;
  return Corpus::text(folder / "text");
}

std::vector<double> log_probabilities(const double* logits, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::exp(logits[i]);
  std::vector<double> result(n);
  for (std::size_t i = 0; i < n; ++i) result[i] = logits[i] - std::log(sum);
  return result;
}

// Nats of the tokens text[1..], each predicted once: one stream, segment by segment, without batches.
double nats_of(const TransformerXl& model, std::span<const std::int32_t> text, std::int64_t memory_length) {
  const auto segment = static_cast<std::size_t>(model.config().segment);
  Memory memory;
  double nats = 0;
  for (std::size_t begin = 0; begin + 1 < text.size(); begin += segment) {
    const std::size_t length = std::min(segment, text.size() - 1 - begin);
    const std::vector<double> ids(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                  text.begin() + static_cast<std::ptrdiff_t>(begin + length));
    const auto out = model(Tensor::from_values({1, static_cast<std::int64_t>(length)}, ids, DType::uint8), memory,
                           memory_length, {});
    memory = out.memory;
    const auto logits = out.logits.values();
    for (std::size_t t = 0; t < length; ++t)
      nats -= log_probabilities(&logits[t * 256], 256)[static_cast<std::size_t>(text[begin + t + 1])];
  }
  return nats;
}

}  // namespace

TEST_CASE("evaluation predicts every token but the first, once, in streams of any number and length") {
  const TemporaryDirectory folder;
  const Corpus corpus = random_text(folder, 131);
  std::vector<std::int32_t> text(131);
  corpus.read(0, text);
  ModelConfig shape{.d_model = 16, .layers = 2, .heads = 2, .head_size = 8, .segment = 8};
  shape.dropout = 0.5;  // must not matter
  TransformerXl model(shape, {.kind = "moe", .experts = 4, .expert_size = 8, .k = 2});
  model.initialise(5, DType::float64);
  const NoGradient guard;
  for (const std::int64_t size : {2, 3, 8, 9, 10, 17, 25, 26, 98, 129, 130, 131})
    for (const std::int64_t batch : {1, 2, 3, 7, 100})
      for (const std::int64_t memory_length : {0, 8, 20}) {
        INFO(size, " tokens, batch ", batch, ", memory ", memory_length);
        const Evaluation got = evaluate(model, corpus.part(0, size), {.batch_size = batch, .memory = memory_length});
        // Streams that share one token with the next: its first input is the last target of the one before.
        const std::int64_t streams = std::max<std::int64_t>(1, std::min(batch, (size - 1) / 8));
        double nats = 0;
        std::size_t begin = 0;
        for (std::int64_t left = size - 1, b = streams; b > 0; --b) {
          const std::int64_t length = (left + b - 1) / b;  // as even as can be, the longer ones first
          nats += nats_of(model, std::span(text).subspan(begin, static_cast<std::size_t>(length + 1)), memory_length);
          begin += static_cast<std::size_t>(length), left -= length;
        }
        CHECK(begin == static_cast<std::size_t>(size - 1));
        CHECK(got.tokens == size - 1);
        CHECK(got.predictable == size - 1);
        CHECK(got.batch_size == streams);
        CHECK(got.memory == memory_length);
        CHECK(got.nats_per_token == doctest::Approx(nats / static_cast<double>(size - 1)).epsilon(1e-12));
        CHECK(got.bits_per_byte().value() == doctest::Approx(got.nats_per_token / std::numbers::ln2));
      }
  // With memory of everything, segments are those of one pass over the text.
  const std::vector<double> ids(text.begin(), text.end() - 1);
  const auto logits = model(Tensor::from_values({1, 130}, ids, DType::uint8), {}, 0, {}).logits.values();
  double nats = 0;
  for (std::size_t t = 0; t < 130; ++t)
    nats -= log_probabilities(&logits[t * 256], 256)[static_cast<std::size_t>(text[t + 1])];
  CHECK(evaluate(model, corpus, {.batch_size = 1, .memory = 200}).nats_per_token ==
        doctest::Approx(nats / 130).epsilon(1e-10));

  CHECK(evaluate(model, corpus, {.batch_size = 3, .max_tokens = 25}).tokens == 48);
  CHECK(evaluate(model, corpus, {.batch_size = 3, .max_tokens = 130}).tokens == 130);
  for (const std::int64_t size : {0, 1}) {
    const std::string message = error_message([&] { evaluate(model, corpus.part(0, size), {.batch_size = 3}); });
    CHECK(message.find(corpus.name()) != std::string::npos);
    CHECK(message.find("2 tokens or more") != std::string::npos);
  }
}
