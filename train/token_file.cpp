#include "train/token_file.h"

#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "train/text/text_stream.h"

namespace weir {
namespace {

static_assert(std::endian::native == std::endian::little, "tokens are stored as they lie in memory");

constexpr std::string_view kMagic = "weir tok";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 64;
constexpr std::int64_t kLargestVocabulary = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;  // read and written at a time

struct Header {
  std::array<char, 8> magic;
  std::uint32_t version, token_bytes;
  std::uint64_t vocabulary, tokens, reserved, hash_low, hash_high, header_hash;
};
static_assert(sizeof(Header) == kHeaderBytes);

std::uint64_t hash_of(const Header& header) { return XXH3_64bits(&header, offsetof(Header, header_hash)); }

std::string hex(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

struct FreeHash {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using HashState = std::unique_ptr<XXH3_state_t, FreeHash>;

HashState new_hash() {
  HashState state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  return state;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw RunError(ExitCode::bad_data,
                 fmt::format("{}: {}; write the shard again with 'weir prepare'", printable(path, 4096), why));
}

// What the header claims must hold for this file before any of it is used.
void check_header(const Header& header, const RandomAccessFile& file) {
  const auto& path = file.path();
  if (std::string_view(header.magic.data(), kMagic.size()) != kMagic)
    refuse(path, "this is not a token shard: it does not begin with \"weir tok\"");
  if (header.header_hash != hash_of(header))
    refuse(path, "the header (byte offset 0 to 63) is damaged: its checksum differs");
  if (header.version != kVersion)
    refuse(path, fmt::format("its version is {}, this program reads version {}", header.version, kVersion));
  if (header.token_bytes != 1 && header.token_bytes != 2 && header.token_bytes != 4)
    refuse(path, fmt::format("it has {} per token (byte offset 12), expected 1, 2 or 4",
                             counted(header.token_bytes, "byte")));
  if (header.vocabulary < 1 || header.vocabulary > kLargestVocabulary)
    refuse(path, fmt::format("its vocabulary is {} (byte offset 16), expected 1 to 2^31 - 1", header.vocabulary));
  const std::uint64_t there = file.size() - kHeaderBytes;
  if (there % header.token_bytes != 0 || there / header.token_bytes != header.tokens)
    refuse(path, fmt::format("it has {}, but the {} of {} that the header (byte offset 24) announces, "
                             "and the header, need {}",
                             counted(file.size(), "byte"), counted(header.tokens, "token"),
                             counted(header.token_bytes, "byte"), kHeaderBytes + header.tokens * header.token_bytes));
}

template <class T>
void widen(std::span<const std::byte> stored, std::span<std::int32_t> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    T token;
    std::memcpy(&token, stored.data() + i * sizeof(T), sizeof(T));
    tokens[i] = static_cast<std::int32_t>(token);
  }
}

void widen(std::span<const std::byte> stored, std::size_t token_bytes, std::span<std::int32_t> tokens) {
  if (token_bytes == 1) widen<std::uint8_t>(stored, tokens);
  if (token_bytes == 2) widen<std::uint16_t>(stored, tokens);
  if (token_bytes == 4) widen<std::uint32_t>(stored, tokens);
}

template <class T>
void narrow(std::span<const std::int32_t> tokens, std::string& into) {
  const std::size_t before = into.size();
  into.resize(before + tokens.size() * sizeof(T));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const T token = static_cast<T>(tokens[i]);
    std::memcpy(into.data() + before + i * sizeof(T), &token, sizeof(T));
  }
}

}  // namespace

// --- reading ------------------------------------------------------------------------------------------------------

TokenFile::TokenFile(const std::string& path)
    : file_(std::make_shared<const RandomAccessFile>(path)), stamp_when_opened_(file_->stamp()), is_shard_(true) {
  if (file_->size() < kHeaderBytes)
    refuse(path, fmt::format("it has {}, less than the {} of a shard's header", counted(file_->size(), "byte"),
                             kHeaderBytes));
  Header header;
  file_->read(0, std::as_writable_bytes(std::span(&header, 1)));
  check_header(header, *file_);
  data_start_ = kHeaderBytes;
  token_bytes_ = header.token_bytes;
  size_ = static_cast<std::int64_t>(header.tokens);
  vocabulary_ = static_cast<std::int64_t>(header.vocabulary);
  checksum_ = hex({.low64 = header.hash_low, .high64 = header.hash_high});
}

TokenFile TokenFile::text(const std::string& path, const TextOptions& options) {
  const HashState state = new_hash();
  const TextFile text = open_text_file(
      path, options, [&](std::string_view piece) { XXH3_128bits_update(state.get(), piece.data(), piece.size()); });
  TokenFile file;
  file.file_ = text.file;
  file.stamp_when_opened_ = text.stamp;
  file.data_start_ = text.begin;
  if (options.content != TextContent::bytes) file.checksum_ = hex(XXH3_128bits_digest(state.get()));
  file.size_ = static_cast<std::int64_t>(file.file_->size() - text.begin);
  return file;
}

TokenFile TokenFile::plain(std::unique_ptr<const RandomAccessFile> tokens, std::int64_t vocabulary) {
  TokenFile file;
  file.file_ = std::move(tokens);
  file.stamp_when_opened_ = file.file_->stamp();
  file.token_bytes_ = sizeof(std::int32_t);
  file.size_ = static_cast<std::int64_t>(file.file_->size() / file.token_bytes_);
  file.vocabulary_ = vocabulary;
  return file;
}

void TokenFile::check(std::int64_t begin, std::span<const std::int32_t> tokens) const {
  const auto limit = static_cast<std::uint32_t>(vocabulary_);
  // Four stored bytes can give a negative token; unsigned it is a huge one.
  const auto value = [](std::int32_t token) { return static_cast<std::uint32_t>(token); };
  std::uint32_t largest = 0;
  for (std::int32_t token : tokens) largest = std::max(largest, value(token));
  if (largest < limit) return;
  std::size_t i = 0;
  while (value(tokens[i]) < limit) ++i;
  const std::int64_t place = begin + static_cast<std::int64_t>(i);
  refuse(path(),
         fmt::format("token {} (byte offset {}) is {}, expected less than the vocabulary, {}", place,
                     data_start_ + static_cast<std::uint64_t>(place) * token_bytes_, value(tokens[i]), vocabulary_));
}

void TokenFile::read(std::int64_t begin, std::span<std::int32_t> into) const {
  if (begin < 0 || begin > size_ || std::ssize(into) > size_ - begin)
    throw InternalError(
        fmt::format("{}: tokens {} to {} were asked of {}", path(), begin, begin + std::ssize(into), size_));
  std::vector<std::byte> stored(into.size() * token_bytes_);
  file_->read(data_start_ + static_cast<std::uint64_t>(begin) * token_bytes_, stored);
  widen(stored, token_bytes_, into);
  check(begin, into);
}

// Reads all tokens, and so checks them.
std::string TokenFile::hash() const {
  const auto state = new_hash();
  std::vector<std::int32_t> tokens(std::min(kPieceBytes / token_bytes_, static_cast<std::size_t>(size_)));
  std::vector<std::byte> stored(tokens.size() * token_bytes_);
  for (std::int64_t begin = 0; begin < size_; begin += std::ssize(tokens)) {
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(std::ssize(tokens), size_ - begin));
    const auto bytes = std::span(stored).first(count * token_bytes_);
    file_->read(data_start_ + static_cast<std::uint64_t>(begin) * token_bytes_, bytes);
    XXH3_128bits_update(state.get(), bytes.data(), bytes.size());
    const auto piece = std::span(tokens).first(count);
    widen(bytes, token_bytes_, piece);
    check(begin, piece);
  }
  return hex(XXH3_128bits_digest(state.get()));
}

std::string TokenFile::checksum() const { return checksum_.empty() ? hash() : checksum_; }

std::string TokenFile::present_checksum() const { return is_shard_ ? checksum_ : hash(); }

void TokenFile::verify() const {
  if (!is_shard_) return;
  if (const std::string found = hash(); found != checksum_)
    refuse(path(),
           fmt::format("its tokens (byte offset {} to {}) are damaged: their checksum is {}, the header says {}",
                       data_start_, file_->size() - 1, found, checksum_));
}

// --- writing ------------------------------------------------------------------------------------------------------

struct TokenFileWriter::Hash {
  HashState state = new_hash();
};

TokenFileWriter::TokenFileWriter(const std::string& path, std::int64_t vocabulary)
    : path_(path),
      temporary_(temporary_name(path)),
      vocabulary_(vocabulary),
      token_bytes_(bytes_per_token(vocabulary)),
      hash_(std::make_unique<Hash>()) {
  if (vocabulary < 1 || vocabulary > kLargestVocabulary)
    throw ArgumentError(fmt::format("{}: a vocabulary of {}, expected 1 to 2^31 - 1", printable(path), vocabulary));
  file_ = std::make_unique<FileWriter>(temporary_, path);
  const Header nothing{};  // a shard that is not finished is none
  file_->write(std::as_bytes(std::span(&nothing, 1)));
}

TokenFileWriter::~TokenFileWriter() {
  if (finished_ && !committed_) ::unlink(temporary_.c_str());
}

void TokenFileWriter::append(std::span<const std::int32_t> tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= vocabulary_)
      throw ArgumentError(fmt::format("{}: token {} is {}, expected 0 to {}: the tokenizer has another vocabulary",
                                      printable(path_), size_ + static_cast<std::int64_t>(i), tokens[i],
                                      vocabulary_ - 1));
  if (token_bytes_ == 1) narrow<std::uint8_t>(tokens, buffer_);
  if (token_bytes_ == 2) narrow<std::uint16_t>(tokens, buffer_);
  if (token_bytes_ == 4) narrow<std::uint32_t>(tokens, buffer_);
  size_ += std::ssize(tokens);
  if (buffer_.size() >= kPieceBytes) flush();
}

void TokenFileWriter::flush() {
  XXH3_128bits_update(hash_->state.get(), buffer_.data(), buffer_.size());
  file_->write(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
}

void TokenFileWriter::finish() {
  flush();
  const XXH128_hash_t hash = XXH3_128bits_digest(hash_->state.get());
  Header header{};
  std::copy(kMagic.begin(), kMagic.end(), header.magic.begin());
  header.version = kVersion;
  header.token_bytes = static_cast<std::uint32_t>(token_bytes_);
  header.vocabulary = static_cast<std::uint64_t>(vocabulary_);
  header.tokens = static_cast<std::uint64_t>(size_);
  header.hash_low = hash.low64;
  header.hash_high = hash.high64;
  header.header_hash = hash_of(header);
  file_->overwrite(0, std::as_bytes(std::span(&header, 1)));
  file_->finish();
  checksum_ = hex(hash);
  finished_ = true;
}

void TokenFileWriter::commit() {
  if (!finished_) finish();
  committed_ = true;  // put_in_place removes the temporary file where it fails
  put_in_place(temporary_, path_);
}

}  // namespace weir
