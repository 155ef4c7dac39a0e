// A SentencePiece model file (protocol buffers, message ModelProto), read and checked before the library sees it.
//
// The library trusts its models: Debian 12's version follows offsets of a crafted file out of bounds (CVE-2026-1260).
// So the library is not given the file. What is needed of it is read here with every bound checked, and the library
// gets that, written anew: what was not checked, it never sees.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir {

struct SentencePieceModel {
  enum class Type { unigram = 1, bpe = 2, word = 3, character = 4 };
  enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::normal;
  };

  struct Normalization {
    std::string charsmap;  // charsmap.h
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
  };

  std::vector<Piece> pieces;  // the index is the token
  Type type = Type::unigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unknown_surface = " \xe2\x81\x87 ";  // what an unknown token decodes to
  Normalization normalization, denormalization;
};

// Refuses what is damaged or dangerous with RunError(bad_data); messages begin with `path`.
SentencePieceModel parse_sentencepiece_model(const std::string& path, std::string_view bytes);

// The model as a file again, without training settings and self-tests.
std::string serialize(const SentencePieceModel& model);

}  // namespace weir
