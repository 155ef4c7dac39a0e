#include "train/text/text_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace weir {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kInvalidShare = 100;  // one byte in so many may be no UTF-8

struct KnownPacking {
  std::size_t offset;
  std::string_view magic;
  Packing packing;
};

constexpr KnownPacking kPackings[] = {
    {0, "PK\x03\x04"sv, {"zip", "unzip"}},    {0, "PK\x05\x06"sv, {"zip", "unzip"}},
    {0, "\x1f\x8b"sv, {"gzip", "gzip -dk"}},  {0, "BZh"sv, {"bzip2", "bzip2 -dk"}},
    {0, "\xfd\x37zXZ\0"sv, {"xz", "xz -dk"}}, {0, "\x28\xb5\x2f\xfd"sv, {"Zstandard", "zstd -d"}},
    {257, "ustar"sv, {"tar", "tar -xf"}},
};

enum class Proof {
  magic,   // the first bytes alone
  binary,  // a text could begin with them as well: only with control characters near them
};

struct Kind {
  std::size_t offset;
  std::string_view magic;
  Proof proof;
  std::string_view what, advice;
};

constexpr std::string_view kOther = "name a text file";
constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kModel = "data.train and --data take texts and folders that 'weir prepare' wrote";
constexpr std::string_view kRows = "write its text column to a text file, or to JSON lines for 'weir prepare c4'";
constexpr std::string_view kRecoverText = "write its text to a file first";

constexpr Kind kKinds[] = {
    {0, "\x89PNG\r\n\x1a\n"sv, Proof::magic, "a PNG image", kOther},
    {0, "\xff\xd8\xff"sv, Proof::magic, "a JPEG image", kOther},
    {0, "GIF87a"sv, Proof::binary, "a GIF image", kOther},
    {0, "GIF89a"sv, Proof::binary, "a GIF image", kOther},
    {0, "BM"sv, Proof::binary, "a BMP image", kOther},
    {0, "II*\0"sv, Proof::magic, "a TIFF image", kOther},
    {0, "MM\0*"sv, Proof::magic, "a TIFF image", kOther},
    {8, "WEBP"sv, Proof::binary, "a WebP image", kOther},
    {0, "RIFF"sv, Proof::binary, "a sound or a film (RIFF)", kOther},
    {0, "OggS"sv, Proof::binary, "a sound or a film (Ogg)", kOther},
    {0, "fLaC"sv, Proof::binary, "a sound (FLAC)", kOther},
    {0, "ID3"sv, Proof::binary, "a sound (MP3)", kOther},
    {4, "ftyp"sv, Proof::binary, "a film or a sound (MP4)", kOther},
    {0, "\x1a\x45\xdf\xa3"sv, Proof::magic, "a film (Matroska)", kOther},
    {0, "%PDF-"sv, Proof::magic, "a PDF document", "take its text out with 'pdftotext FILE.pdf FILE.txt'"},
    {0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, Proof::magic, "an Office document", "save it as plain text in UTF-8"},
    {0, "{\\rtf"sv, Proof::magic, "an RTF document", "save it as plain text in UTF-8"},
    {0,
     "\x7f"
     "ELF"sv,
     Proof::magic, "a program or a library (ELF)", kOther},
    {0, "MZ"sv, Proof::binary, "a program for Windows", kOther},
    {0, "\xca\xfe\xba\xbe"sv, Proof::magic, "a Java class or a program for macOS", kOther},
    {0, "\xcf\xfa\xed\xfe"sv, Proof::magic, "a program for macOS", kOther},
    {0, "\0asm"sv, Proof::magic, "a WebAssembly program", kOther},
    {0, "!<arch>\n"sv, Proof::magic, "an archive of object files or a Debian package", kOther},
    {0, "GGUF"sv, Proof::binary, "a model (GGUF)", kModel},
    {0, "\x89HDF\r\n\x1a\n"sv, Proof::magic, "an HDF5 file", kRows},
    {0, "PAR1"sv, Proof::binary, "a Parquet table", kRows},
    {0, "ARROW1"sv, Proof::binary, "an Arrow table", kRows},
    {0, "FEA1"sv, Proof::binary, "an Arrow table (Feather)", kRows},
    {0, "ORC"sv, Proof::binary, "an ORC table", kRows},
    {0, "Obj\x01"sv, Proof::magic, "an Avro table", kRows},
    {0, "SQLite format 3\0"sv, Proof::magic, "an SQLite database", kRows},
    {0, "\x93NUMPY"sv, Proof::magic, "a NumPy array",
     "tokens are read from the shards of a prepared folder: docs/formats.md describes them"},
    {0, "weir tok"sv, Proof::binary, "a shard of tokens", "name the folder that it is in"},
    {0, "version https://git-lfs.github.com/spec/"sv, Proof::magic, "a pointer of Git LFS, not the file itself",
     "get the file with 'git lfs pull'"},
    {0, "\x04\x22\x4d\x18"sv, Proof::magic, "packed with LZ4", kUnpack},
    {0, "LZIP\x01"sv, Proof::magic, "packed with lzip", kUnpack},
    {0, "\x5d\0\0"sv, Proof::magic, "packed with LZMA", kUnpack},
    {0, "\x1f\x9d"sv, Proof::magic, "packed with compress", kUnpack},
    {0, "7z\xbc\xaf\x27\x1c"sv, Proof::magic, "packed with 7-Zip", kUnpack},
    {0, "Rar!\x1a\x07"sv, Proof::magic, "packed with RAR", kUnpack},
};

// By the name of the first member of a zip archive, or its end.
struct Member {
  std::string_view name, what, advice;
};
constexpr Member kFirstMembers[] = {
    {"[Content_Types].xml", "a Word, Excel or PowerPoint document", "save it as plain text in UTF-8"},
    {"_rels/", "a Word, Excel or PowerPoint document", "save it as plain text in UTF-8"},
    {"docProps/", "a Word, Excel or PowerPoint document", "save it as plain text in UTF-8"},
    {"word/", "a Word document", "save it as plain text in UTF-8"},
    {"mimetypeapplication/epub", "an EPUB book", "save it as plain text in UTF-8"},
    {"mimetype", "an OpenDocument text or table", "save it as plain text in UTF-8"},
    {"META-INF/", "a Java archive", kOther},
    {"AndroidManifest.xml", "an Android program", kOther},
};
constexpr Member kMemberEndings[] = {
    {"data.pkl", "a PyTorch file", kModel},
    {".npy", "a NumPy archive", kRows},
};

bool has(std::string_view head, std::size_t offset, std::string_view magic) {
  return head.size() >= offset + magic.size() && head.substr(offset, magic.size()) == magic;
}

bool holds_control_characters(std::string_view head) {
  return std::any_of(head.begin(), head.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && !(byte >= '\t' && byte <= '\r') && byte != 0x1b) || byte == 0x7f;
  });
}

std::string or_bytes(const TextOptions& options) {
  return options.bytes_setting.empty()
             ? ""
             : fmt::format(", or give {} to take its bytes as they are", options.bytes_setting);
}

[[noreturn]] void refuse(const std::string& label, const std::string& what, std::string_view advice,
                         const TextOptions& options) {
  throw RunError(ExitCode::bad_data, fmt::format("{}: {}; {}{}", label, what, advice, or_bytes(options)));
}

// The name of a zip archive's first member, and the beginning of what is in it.
std::string_view first_member(std::string_view head) {
  constexpr std::size_t kName = 30;
  if (!has(head, 0, "PK\x03\x04") || head.size() < kName) return {};
  const auto number = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(head[at]) | static_cast<unsigned char>(head[at + 1])
                                                                               << 8);
  };
  return head.substr(kName, number(28) == 0 && head.substr(kName).starts_with("mimetype") ? 64 : number(26));
}

void refuse_byte_order_marks(std::string_view head, const std::string& label, const TextOptions& options) {
  struct Mark {
    std::string_view bytes, encoding;
  };
  // UTF-32 first, for UTF-16's mark begins its own.
  for (const Mark& mark : {Mark{"\xff\xfe\0\0"sv, "UTF-32"}, Mark{"\0\0\xfe\xff"sv, "UTF-32"},
                           Mark{"\xff\xfe"sv, "UTF-16"}, Mark{"\xfe\xff"sv, "UTF-16"}})
    if (head.starts_with(mark.bytes))
      refuse(label, fmt::format("this text is {}: its byte-order mark stands at byte offset 0", mark.encoding),
             fmt::format("convert it with 'iconv -f {} -t UTF-8 FILE > NEW'", mark.encoding), options);
}

}  // namespace

TextContent text_content(const std::string& encoding) {
  if (encoding == "utf-8") return TextContent::text;
  if (encoding == "bytes") return TextContent::bytes;
  throw ArgumentError(fmt::format("encoding: '{}' is neither utf-8 nor bytes", encoding));
}

const Packing* packing_of(std::string_view head) {
  for (const KnownPacking& known : kPackings)
    if (has(head, known.offset, known.magic)) return &known.packing;
  return nullptr;
}

void refuse_other_kinds(std::string_view head, const std::string& label, const TextOptions& options) {
  const auto refuse_as = [&](std::string_view what, std::string_view advice) {
    refuse(label, fmt::format("this is {}, not text", what), advice, options);
  };
  refuse_byte_order_marks(head, label, options);
  const bool binary = holds_control_characters(head);
  for (const Kind& kind : kKinds)
    if (has(head, kind.offset, kind.magic) && (kind.proof == Proof::magic || binary)) refuse_as(kind.what, kind.advice);
  // A length of eight bytes, then JSON.
  if (has(head, 5, "\0\0\0{\""sv)) refuse_as("a file of tensors (safetensors)", kModel);
  // The opcode PROTO, and the first one after it.
  if (head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5) refuse_as("a Python pickle", kRecoverText);
  const std::string_view member = first_member(head);
  for (const Member& known : kFirstMembers)
    if (member.starts_with(known.name)) refuse_as(known.what, known.advice);
  for (const Member& known : kMemberEndings)
    if (member.ends_with(known.name)) refuse_as(known.what, known.advice);
}

// --- UTF-8 ----------------------------------------------------------------------------------------------------------

void Utf8Check::add_invalid(std::uint64_t offset, std::uint64_t count) {
  if (!first_invalid_) first_invalid_ = offset;
  invalid_ += count;
}

void Utf8Check::give_up() {
  const auto count = static_cast<std::uint64_t>(had_);
  if (count > 0) add_invalid(bytes_ - count, count);
  had_ = missing_ = 0;
}

void Utf8Check::begin_character(unsigned char byte) {
  lowest_ = 0x80;
  highest_ = 0xbf;
  if (byte >= 0xc2 && byte <= 0xdf) {
    missing_ = 1;
  } else if (byte >= 0xe0 && byte <= 0xef) {
    missing_ = 2;
    if (byte == 0xe0) lowest_ = 0xa0;   // shorter ones would do
    if (byte == 0xed) highest_ = 0x9f;  // no surrogates
  } else if (byte >= 0xf0 && byte <= 0xf4) {
    missing_ = 3;
    if (byte == 0xf0) lowest_ = 0x90;
    if (byte == 0xf4) highest_ = 0x8f;  // Unicode ends at 10ffff
  } else {
    const bool rest_of_one_cut_off = !any_character_ && byte >= 0x80 && byte <= 0xbf && bytes_ < 3;
    if (!rest_of_one_cut_off) add_invalid(bytes_, 1);
    return;
  }
  had_ = 1;
}

void Utf8Check::update(std::span<const char> piece) {
  for (std::size_t i = 0; i < piece.size();) {
    if (missing_ == 0) {  // eight letters of ASCII at once
      std::uint64_t eight = 0;
      constexpr std::uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
      if (i + 8 <= piece.size()) std::memcpy(&eight, piece.data() + i, 8);
      if (i + 8 <= piece.size() && ((eight | (eight - ones)) & tops) == 0) {
        any_character_ = true;
        bytes_ += 8;
        i += 8;
        continue;
      }
    }
    const auto byte = static_cast<unsigned char>(piece[i]);
    if (missing_ > 0) {
      if (byte < lowest_ || byte > highest_) {
        give_up();
        continue;  // with the same byte
      }
      ++had_;
      if (--missing_ == 0) {
        any_character_ = true;
        had_ = 0;
      }
      lowest_ = 0x80;
      highest_ = 0xbf;
    } else if (byte < 0x80) {
      any_character_ = true;
      if (byte == 0 && !first_zero_) first_zero_ = bytes_;
      if (byte == 0) ++zeros_[bytes_ % 2];
    } else {
      begin_character(byte);
    }
    ++bytes_;
    ++i;
  }
}

// Of most letters UTF-16 has one byte that is zero: the first (big-endian) or the second.
const char* Utf8Check::likely_utf16() const {
  for (const std::size_t place : {std::size_t{0}, std::size_t{1}})
    if (zeros_[1 - place] == 0 && zeros_[place] >= std::max<std::uint64_t>(bytes_ / 8, 1))
      return place == 0 ? "UTF-16BE" : "UTF-16LE";
  return nullptr;
}

void refuse_other_encodings(const Utf8Check& seen, const std::string& label, const TextOptions& options) {
  if (options.content == TextContent::text && seen.first_zero()) {
    const std::string what = fmt::format("the byte at offset {} is zero, which no text has", *seen.first_zero());
    if (const char* const encoding = seen.likely_utf16())
      refuse(label, fmt::format("{}: this seems to be UTF-16 without a byte-order mark", what),
             fmt::format("convert it with 'iconv -f {} -t UTF-8 FILE > NEW'", encoding), options);
    refuse(label, what, "check that it is the right file", options);
  }
  if (seen.invalid() * kInvalidShare <= seen.bytes()) return;
  const double share = 100 * static_cast<double>(seen.invalid()) / static_cast<double>(seen.bytes());
  const std::string what =
      fmt::format("{:.{}f} % of the first {} bytes are not UTF-8, the first of them at byte offset {}", share,
                  share < 10 ? 1 : 0, seen.bytes(), *seen.first_invalid());
  if (share < 30)
    refuse(label, what, "if it is in Latin-1, convert it with 'iconv -f LATIN1 -t UTF-8 FILE > NEW'", options);
  refuse(
      label, what,
      "check that it is the right file; if it is text in another encoding, convert it with 'iconv -f ENCODING -t UTF-8 "
      "FILE > NEW'",
      options);
}

}  // namespace weir
