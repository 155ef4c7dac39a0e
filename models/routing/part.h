// A router is put together from parts of five kinds: scores, selection, gate, regulariser, initialisation. A part is a
// function that registers itself, with a name and a few words of help, at the end of its own file (core/registry.h).
// Scores and selections may have parameters, and buffers that carry state from step to step (models/parameter.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/registry.h"
#include "models/config.h"
#include "models/forward_context.h"
#include "models/parameter.h"
#include "models/regulariser.h"

namespace weir::routing {

// N = B * T tokens, E experts, K of them per token, D the model's width. A routing is R rows of pairs of a token and an
// expert. Usually row n has the K experts of token n; where experts choose tokens, a row is one such choice and says
// whose it is, and a token may have no row, or many.

struct Call {
  const ForwardContext& context;
  std::int64_t layer, sequences, k;                  // sequences: B
  std::vector<Observation>* observations = nullptr;  // of this call

  RandomStream random(RandomPlace place) const { return context.random(place, layer); }
  // Adds to what `buffer` is updated by at the end of the step; does nothing but in training.
  void observe(const Buffer& buffer, const Tensor& value) const {
    if (context.training && observations != nullptr) observations->push_back({&buffer, value.detach()});
  }
};

// What experts are chosen and weighed by.
struct Scored {
  Tensor logits;  // [N, E], never in bf16
  Tensor keep;    // [N, E]: 0 where expert dropout bars an expert from a token, else 1; undefined where it bars none

  // `values` [N, E] with every barred expert far below all others.
  Tensor ranked(const Tensor& values) const;
  // The rows of both that `tokens` [R] names.
  Scored rows(const Tensor& tokens) const;
};

// What a selection chose.
struct Choice {
  Tensor index;   // [R, K] int32: experts
  Tensor tokens;  // [R] int32: the token of each row; undefined where row n is token n

  Choice(Tensor chosen, Tensor of_tokens = {}) : index(std::move(chosen)), tokens(std::move(of_tokens)) {}
};

struct Routed {
  Tensor logits;           // [N, E]
  Tensor index;            // [R, K] int32
  Tensor gate;             // [R, K]
  std::int64_t sequences;  // B
  Tensor tokens{};         // [R] int32; undefined where row n is token n
  std::vector<Observation> observations{};

  // logits, index and gate as [B, T, ...], or as [1, R, ...] where rows are not tokens; and back, without `tokens`.
  RegulariserInputs by_sequence() const;
  static Routed from_sequences(const RegulariserInputs& tensors);
};

// Where scores and selections declare their parameters and buffers.
struct RouterParameters {
  ParameterSet& set;
  std::string name;
  Shape shape;                      // [E, D]
  Initialiser router;               // from the initialisation
  const FeedforwardConfig& config;  // a part throws ArgumentError where a setting does not fit it

  const Parameter& add(const std::string& suffix, Initialiser initial) const {
    return set.add(name + "." + suffix, shape, std::move(initial));
  }
  // Of one number per expert, [E].
  const Buffer& add_buffer(const std::string& suffix, Initialiser initial, BufferUpdate update) const {
    return set.add_buffer(name + "." + suffix, {shape[0]}, std::move(initial), std::move(update));
  }
};

struct InitialValues {
  Initialiser router, w1, w2;
};

// The kinds of part.

struct Scores {  // declares parameters; the function it returns makes logits [N, E] of tokens [N, D]
  using Logits = std::function<Tensor(const Tensor& x, const Call& call)>;
  using Function = Logits (*)(const RouterParameters& declare);
  static constexpr const char* setting = "feedforward.scores";
};

struct Selection {  // declares likewise; the function it returns chooses, from logits without gradient
  using Choose = std::function<Choice(const Scored& scored, const Call& call)>;
  using Function = Choose (*)(const RouterParameters& declare);
  static constexpr const char* setting = "feedforward.selection";
};

// The Selection::Function of a plain function, Choice or Tensor [N, K] (const Scored&, const Call&), without
// parameters.
template <auto choose>
Selection::Choose stateless(const RouterParameters&) {
  return choose;
}

struct Gate {  // the factor on each chosen expert's output, [R, K]; that of a barred expert is set to 0 afterwards.
               // `scored` has the rows of `index`
  using Function = Tensor (*)(const Scored& scored, const Tensor& index);
  static constexpr const char* setting = "feedforward.gate";
};

struct Regulariser {  // a loss term of one element, without its weight, or nothing
  using Function = Tensor (*)(const Routed& routed);
  static constexpr const char* setting = "feedforward.regulariser";
};

struct Initialisation {
  using Function = InitialValues (*)(const ModelConfig& model, const FeedforwardConfig& config);
  static constexpr const char* setting = "feedforward.init";
};

}  // namespace weir::routing
