#include "disk.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

namespace weir {
namespace {

constexpr std::size_t kSector = 512;

bool coin(std::mt19937& random) { return random() % 2 == 0; }

}  // namespace

Disk::Disk() : nodes_(1) { nodes_[0].directory = true; }

void Disk::write(std::string& contents, const Write& what) {
  if (what.resize) return contents.resize(what.offset);
  if (contents.size() < what.offset + what.data.size()) contents.resize(what.offset + what.data.size());
  contents.replace(what.offset, what.data.size(), what.data);
}

void Disk::write_sectors(std::string& contents, const Write& what, std::mt19937& random) {
  const bool nothing = coin(random);
  for (std::size_t begin = 0; begin < what.data.size() && !nothing;) {
    const std::size_t size = std::min(kSector - (what.offset + begin) % kSector, what.data.size() - begin);
    if (coin(random)) write(contents, {what.offset + begin, what.data.substr(begin, size), false});
    begin += size;
  }
}

void Disk::change(Names& names, const Change& what) {
  for (const auto& [name, inode] : what) {
    if (inode == kNone)
      names.erase(name);
    else
      names[name] = inode;
  }
}

Disk::Names Disk::names_now(Inode directory) const {
  Names names = nodes_[directory].names;
  for (const Change& what : nodes_[directory].changes) change(names, what);
  return names;
}

std::pair<Disk::Inode, std::string> Disk::place(const std::string& path) const {
  const std::size_t slash = path.rfind('/');
  return {slash == std::string::npos ? 0 : find(path.substr(0, slash)),
          slash == std::string::npos ? path : path.substr(slash + 1)};
}

Disk::Inode Disk::find(const std::string& path) const {
  if (path.empty()) return 0;
  const auto [directory, name] = place(path);
  const Names names = names_now(directory);
  const auto found = names.find(name);
  if (found == names.end()) throw std::runtime_error("no such file was recorded: " + path);
  return found->second;
}

void Disk::rename(const Call& call, Inode instead) {
  const auto [directory, name] = place(call.path);
  const auto [target_directory, target] = place(call.target);
  if (directory != target_directory) throw std::runtime_error("a rename between directories: " + call.path);
  nodes_[directory].changes.push_back({{name, instead}, {target, find(call.path)}});
}

void Disk::sync(Node& node) {
  for (const Write& what : node.writes) write(node.contents, what);
  for (const Change& what : node.changes) change(node.names, what);
  node.writes.clear();
  node.changes.clear();
}

void Disk::apply(const Call& call) {
  using Kind = Call::Kind;
  const auto make = [&](bool directory) {
    const auto [parent, name] = place(call.path);
    nodes_.emplace_back().directory = directory;
    nodes_[parent].changes.push_back({{name, nodes_.size() - 1}});
  };
  switch (call.kind) {
    case Kind::create:
      return make(false);
    case Kind::make_directory:
      return make(true);
    case Kind::write:
      nodes_[find(call.path)].writes.push_back({call.offset, call.data, false});
      return;
    case Kind::resize:
      nodes_[find(call.path)].writes.push_back({call.offset, "", true});
      return;
    case Kind::sync:
      return sync(nodes_[find(call.path)]);
    case Kind::rename:
      return rename(call, kNone);
    case Kind::exchange:
      return rename(call, find(call.target));
    case Kind::remove: {
      const auto [parent, name] = place(call.path);
      nodes_[parent].changes.push_back({{name, kNone}});
      return;
    }
    case Kind::acknowledge:
      return;
  }
}

std::string Disk::contents_after(const Node& node, Loss loss, std::mt19937& random) const {
  std::string contents = node.contents;
  for (const Write& what : node.writes) {
    if (loss == Loss::torn && !what.resize)
      write_sectors(contents, what, random);
    else if (loss == Loss::names || (loss == Loss::some && coin(random)))
      write(contents, what);
  }
  return contents;
}

Disk::Names Disk::names_after(const Node& node, Loss loss, std::mt19937& random) const {
  Names names = node.names;
  const std::size_t first = random() % (node.changes.size() + 1);
  for (std::size_t i = 0; i < node.changes.size(); ++i)
    if (loss == Loss::torn || (loss == Loss::some && coin(random)) || (loss == Loss::names && i < first))
      change(names, node.changes[i]);
  return names;
}

std::map<std::string, std::string> Disk::after_power_loss(Loss loss, std::mt19937& random) const {
  std::map<std::string, std::string> found;
  const std::function<void(Inode, const std::string&)> visit = [&](Inode inode, const std::string& prefix) {
    for (const auto& [name, child] : names_after(nodes_[inode], loss, random)) {
      const std::string path = prefix + name;
      if (!nodes_[child].directory) {
        found[path] = contents_after(nodes_[child], loss, random);
      } else if (found.emplace(path + "/", "").second) {
        visit(child, path + "/");
      }
    }
  };
  visit(0, "");
  return found;
}

}  // namespace weir
