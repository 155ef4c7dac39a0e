// Shared memory of a block and the asynchronous copies into it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace weir::emulator {

// One slab, handed out in pieces: one per type of shared<T>() and one for the dynamic part. Every piece starts as bytes
// of 0xFF (a NaN, -1), so that what nobody wrote shows; guard bytes between the pieces show stray writes.
class SharedMemory {
 public:
  static constexpr std::size_t kLimitBytes = 227 * 1024;  // of a block on sm_90
  static constexpr std::size_t kGuardBytes = 256;

  SharedMemory();
  ~SharedMemory();
  // Forgets all pieces: a block begins, whose dynamic piece will have that many bytes.
  void reset(std::size_t dynamic_bytes);
  // The piece of that key, made at its first use in the block. Empty where the limit is passed.
  void* piece(const void* key, std::size_t bytes, std::size_t alignment);
  void* dynamic_piece();  // empty where there is none
  bool contains(const void* from, std::size_t bytes) const;
  // What is wrong with the guard bytes, or nothing: a block ends.
  std::string stray_write() const;

 private:
  struct Piece {
    const void* key;
    std::byte* begin;
    std::size_t bytes;
  };
  void* add_piece(const void* key, std::size_t bytes, std::size_t alignment);

  std::unique_ptr<std::byte[]> slab_;
  std::byte* next_;
  std::vector<Piece> pieces_;
  std::size_t used_ = 0, dynamic_bytes_ = 0;
};

// Asynchronous copies of one thread, made as late as the hardware may: when the thread waits for them. A kernel that
// forgets to wait reads poison at once, where a copy made early would hide it.
class CopyQueue {
 public:
  void add(void* to, const void* from, std::size_t bytes, std::size_t zeros);
  void commit() { ++open_group_; }
  void wait(std::size_t groups_left);  // makes the copies of all but the newest committed groups
  bool empty() const { return done_ == copies_.size(); }
  void clear();

 private:
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes, zeros, group;
  };
  std::vector<Copy> copies_;
  std::size_t done_ = 0;  // so many of them, from the first
  std::size_t open_group_ = 0;
};

}  // namespace weir::emulator
