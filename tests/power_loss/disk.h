// A disk that loses its power: what the calls so far have left on it, at the least that POSIX promises.
//
// Contents are on the disk once their file was synced, a name once its directory was. What was done since then may be
// there or not, in any part and in any order. A rename is there as a whole or not at all.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "recorded_calls.h"

namespace weir {

enum class Loss {
  everything,  // nothing is there that was not synced
  some,        // each write and each change of a name is there with probability 1/2
  torn,        // all names are there; of each write, whole sectors of 512 bytes or (one time in two) nothing at all
  names        // all contents are there; of each directory's changes, the first few
};

class Disk {
 public:
  Disk();
  void apply(const Call& call);
  // What is found when the power is back, as path -> contents; directories end with '/'.
  std::map<std::string, std::string> after_power_loss(Loss loss, std::mt19937& random) const;

 private:
  using Inode = std::size_t;
  constexpr static Inode kNone = ~Inode{0};
  struct Write {
    std::uint64_t offset;
    std::string data;
    bool resize;  // to `offset` bytes
  };
  using Names = std::map<std::string, Inode>;
  // One call: each name and what it stands for from then on, kNone where it is gone.
  using Change = std::vector<std::pair<std::string, Inode>>;
  struct Node {
    bool directory = false;
    std::string contents;         // on the disk
    std::vector<Write> writes;    // since then
    Names names;                  // on the disk
    std::vector<Change> changes;  // since then
  };

  static void write(std::string& contents, const Write& what);
  static void write_sectors(std::string& contents, const Write& what, std::mt19937& random);
  static void change(Names& names, const Change& what);
  Names names_now(Inode directory) const;
  Inode find(const std::string& path) const;
  std::pair<Inode, std::string> place(const std::string& path) const;  // the directory, and the name in it
  void rename(const Call& call, Inode instead);
  void sync(Node& node);
  std::string contents_after(const Node& node, Loss loss, std::mt19937& random) const;
  Names names_after(const Node& node, Loss loss, std::mt19937& random) const;

  std::vector<Node> nodes_;  // the first is the root
};

}  // namespace weir
