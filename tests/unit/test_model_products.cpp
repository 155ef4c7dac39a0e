// Whether each matrix product of a model, forward and backward, is as exact as model.precision says: the matrix unit
// and the library are replaced by ones that count, and give zeros.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "autograd/autograd.h"
#include "core/text.h"
#include "models/language_model.h"
#include "ops/add.h"
#include "ops/cpu/gemm_backends.h"
#include "ops/cross_entropy.h"
#include "train/config.h"

using namespace weir;

namespace {

std::atomic<int> rounded{0}, exact{0};

void zero(std::int64_t m, std::int64_t n, float* c, std::int64_t stride) {
  for (std::int64_t i = 0; i < m; ++i) std::fill_n(c + i * stride, n, 0.0f);
}

const cpu::MatrixUnit kCountingUnit{
    .multiply = [](std::int64_t m, std::int64_t n, std::int64_t, int, cpu::AnyMatrix, cpu::AnyMatrix, void* c, DType,
                   std::int64_t stride, cpu::GemmMode) { ++rounded, zero(m, n, static_cast<float*>(c), stride); },
    .packed_size = [](std::int64_t, std::int64_t, int) { return std::int64_t{1}; },
    .pack = [](std::int64_t, std::int64_t, int, cpu::AnyMatrix, bf16*) {},
    .multiply_packed = [](std::int64_t m, std::int64_t n, std::int64_t, int, cpu::AnyMatrix, cpu::PackedPart, void* c,
                          DType, std::int64_t stride,
                          cpu::GemmMode) { ++rounded, zero(m, n, static_cast<float*>(c), stride); }};
const cpu::GemmLibrary kCountingLibrary{.f32 = [](std::int64_t m, std::int64_t n, std::int64_t, cpu::Matrix<float>,
                                                  cpu::Matrix<float>, float* c, std::int64_t stride,
                                                  cpu::GemmMode) { ++exact, zero(m, n, c, stride); }};

// Until the end of the scope, products are counted instead of made.
class CountedProducts {
 public:
  CountedProducts()
      : unit_(std::exchange(cpu::matrix_unit, kCountingUnit)),
        library_(std::exchange(cpu::gemm_library, kCountingLibrary)) {
    rounded = exact = 0;
  }
  ~CountedProducts() { cpu::matrix_unit = unit_, cpu::gemm_library = library_; }
  CountedProducts(const CountedProducts&) = delete;
  CountedProducts& operator=(const CountedProducts&) = delete;

 private:
  cpu::MatrixUnit unit_;
  cpu::GemmLibrary library_;
};

void train_once(const std::vector<std::string>& settings) {
  std::vector<std::string> all = {"model.vocabulary=256",   "model.d_model=16",      "model.layers=2",
                                  "model.heads=2",          "model.head_size=8",     "model.segment=6",
                                  "feedforward.d_ff=24",    "feedforward.experts=4", "feedforward.expert_size=8",
                                  "feedforward.sub_keys=4", "train.steps=1"};
  all.insert(all.end(), settings.begin(), settings.end());
  const Config config = parse_config("", "test.toml", all);
  const auto model = make_language_model(config.model, config.feedforward);
  model->initialise(3);
  const Tensor ids = Tensor::zeros({2, 6}, DType::int32);
  const CountedProducts scope;
  LanguageModelOutput out = (*model)(ids, {}, 6, {.training = true, .collect_statistics = true, .analyse = true});
  out = (*model)(ids, out.memory, 6, {.training = true});
  const Tensor loss = cross_entropy(out.logits, ids);
  backward(out.auxiliary_loss.defined() ? add(loss, out.auxiliary_loss) : loss);
}

}  // namespace

TEST_CASE("products: all of a model's are as exact as its precision says, backward too") {
  for (const std::vector<std::string>& settings : std::vector<std::vector<std::string>>{
           {"feedforward.kind=dense"},
           {"feedforward.kind=gelu", "model.checkpoint_activations=true"},
           {"feedforward.kind=top-k"},
           {"feedforward.kind=swiglu"},
           {"feedforward.kind=moe"},
           {"feedforward.kind=moe", "feedforward.scores=noisy", "feedforward.gate=softmax"},
           {"feedforward.kind=pkm", "feedforward.k=2"},
           {"feedforward.kind=pkm", "feedforward.k=4"},
           {"feedforward.kind=pkm", "feedforward.k=4", "feedforward.activation=softmax"},
           {"model.attention=switch-head"},
           {"model.attention=switch-head", "model.attention_experts=1", "model.attention_k=1"},
           {"model.kind=gpt"},
           {"model.kind=gpt", "gpt.tied=true"}}) {
    INFO(join(settings, " "));
    std::vector<std::string> with = settings;
    with.push_back("model.precision=tf32");
    train_once(with);
    CHECK(rounded > 0);
    CHECK(exact == 0);
    with.back() = "model.precision=float32";
    train_once(with);
    CHECK(rounded == 0);
    CHECK(exact > 0);
  }
}
