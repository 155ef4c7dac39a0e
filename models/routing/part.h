// A router is put together from parts of five kinds: scores, selection, gate, regulariser, initialisation. A part is a
// function that registers itself, with a name and a few words of help, at the end of its own file (core/registry.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/registry.h"
#include "models/config.h"
#include "models/forward_context.h"
#include "models/parameter.h"
#include "models/regulariser.h"

namespace weir::routing {

// N = B * T tokens, E experts, K of them per token, D the model's width.

struct Call {
  const ForwardContext& context;
  std::int64_t layer, sequences, k;  // sequences: B

  RandomStream random(RandomPlace place) const { return context.random(place, layer); }
};

// What experts are chosen and weighed by.
struct Scored {
  Tensor logits;  // [N, E], never in bf16
  Tensor keep;    // [N, E]: 0 where expert dropout bars an expert from a token, else 1; undefined where it bars none

  // `values` [N, E] with every barred expert far below all others.
  Tensor ranked(const Tensor& values) const;
};

struct Routed {
  Tensor logits;           // [N, E]
  Tensor index;            // [N, K] int32
  Tensor gate;             // [N, K]
  std::int64_t sequences;  // B

  // The three as [B, T, ...], and back.
  RegulariserInputs by_sequence() const;
  static Routed from_sequences(const RegulariserInputs& tensors);
};

// Where scores declare their parameters.
struct RouterParameters {
  ParameterSet& set;
  std::string name;
  Shape shape;         // [E, D]
  Initialiser router;  // from the initialisation

  const Parameter& add(const std::string& suffix, Initialiser initial) const {
    return set.add(name + "." + suffix, shape, std::move(initial));
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

struct Selection {  // the experts of each token, [N, K] int32; runs without gradient
  using Function = Tensor (*)(const Scored& scored, const Call& call);
  static constexpr const char* setting = "feedforward.selection";
};

struct Gate {  // the factor on each chosen expert's output, [N, K]; that of a barred expert is set to 0 afterwards
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
