// The lock of a run's folder: it keeps a second run out even where its file was removed.
#include "train/run_lock.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "core/error.h"
#include "core/file.h"
#include "temporary_directory.h"

using namespace weir;
namespace fs = std::filesystem;

TEST_CASE("run lock: one at a time, and free again afterwards") {
  const TemporaryDirectory folder;
  {
    const RunLock lock(folder.path());
    CHECK(read_file(folder / "lock", 64).starts_with("pid "));
    CHECK_THROWS_WITH_AS(RunLock(folder.path()), doctest::Contains("another process (pid "), RunError);
  }
  RunLock again(folder.path());
  again.check();
  again.remove();
  CHECK(folder.entries() == 0);
}

TEST_CASE("run lock: without its file it still holds, and puts the file back") {
  const TemporaryDirectory folder;
  RunLock lock(folder.path());
  for (const bool replaced : {false, true}) {
    fs::remove(folder / "lock");
    if (replaced) write_file_synced(folder / "lock", "pid 1");
    CHECK_THROWS_WITH_AS(RunLock(folder.path()), doctest::Contains("another process"), RunError);
    lock.check();
    CHECK(read_file(folder / "lock", 64) != "pid 1");
  }
}

TEST_CASE("run lock: a folder that was removed, moved or replaced is not ours any more") {
  const TemporaryDirectory around;
  const std::string folder = around / "run";
  fs::create_directory(folder);
  RunLock lock(folder);
  const std::string moved = around / "moved it";
  fs::rename(folder, moved);
  const std::string message = folder + ": the run's folder is no longer at this name: while the run went on it was ";
  const std::string where = "moved to " + moved;
  CHECK_THROWS_WITH_AS(lock.check(), (message + where).c_str(), RunError);
  fs::create_directory(folder);
  CHECK_THROWS_WITH_AS(lock.check(), (message + where).c_str(), RunError);
  CHECK(fs::is_empty(folder));
  CHECK_THROWS_AS(RunLock{moved}, RunError);
  fs::remove_all(moved);
  CHECK_THROWS_WITH_AS(lock.check(), doctest::Contains((message + "removed, or moved to where").c_str()), RunError);
}

TEST_CASE("run lock: something else in the place of its file is refused, and left alone") {
  const TemporaryDirectory folder;
  write_file_synced(folder / "mine", "mine");
  fs::create_symlink("mine", folder / "lock");
  CHECK_THROWS_WITH_AS(RunLock(folder.path()), doctest::Contains("lock: this is a symbolic link"), RunError);
  CHECK(read_file(folder / "mine", 10) == "mine");
  fs::remove(folder / "lock");
  fs::copy(folder / "mine", folder / "lock");
  CHECK_THROWS_WITH_AS(RunLock(folder.path()), doctest::Contains("lock: this file is no lock of Weir's"), RunError);
  CHECK(read_file(folder / "lock", 10) == "mine");
}
