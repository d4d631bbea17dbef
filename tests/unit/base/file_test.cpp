#include "framework/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "framework/base/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

TEST(File, WritesAndReadsBytes) {
  const TemporaryFolder folder;
  const std::string content("a\0b\r\n\xff", 6);
  write_file(folder / "x", content);
  EXPECT_EQ(read_file(folder / "x"), content);
  write_file(folder / "x", "");
  EXPECT_EQ(read_file(folder / "x"), "");
  const std::string large(1'000'000, 'y');  // more than one buffer
  write_file(folder / "x", large);
  EXPECT_EQ(read_file(folder / "x"), large);
  EXPECT_EQ(folder.partial_files(), 0);
}

TEST(File, ReadsFilesWithoutASize) {
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Pid"));
}

TEST(File, ReadingNamesWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<DataError>([&] { read_file(folder / "none"); }),
              HasSubstr("none: no such file"));
  EXPECT_THAT(message_of<DataError>([&] { read_file(folder.path()); }),
              HasSubstr("is a folder, expected a file"));
  folder.write("file", "");
  EXPECT_THAT(message_of<DataError>([&] { read_file(folder / "file/below"); }),
              HasSubstr("Not a directory"));
}

TEST(File, WritingNamesTheWayOut) {
  const TemporaryFolder folder;
  const auto refusal = [](const fs::path& path) {
    return message_of<Error>([&] { write_file(path, "x"); });
  };
  EXPECT_THAT(refusal(folder / "none/x"), AllOf(HasSubstr("none/x: cannot write"),
                                                HasSubstr("none does not exist; create it")));
  folder.write("file", "");
  EXPECT_THAT(refusal(folder / "file/x"), HasSubstr("file is not a folder"));
  fs::create_directory(folder / "taken");
  EXPECT_THAT(refusal(folder / "taken"), HasSubstr("a folder of that name exists"));
  EXPECT_THAT(refusal("/proc/quell_test"), HasSubstr("/proc/quell_test: cannot write"));
  EXPECT_THAT(refusal(folder / std::string(300, 'n')), HasSubstr("cannot write"));
  EXPECT_EQ(folder.partial_files(), 0);
}

TEST(File, AFolderWithoutWritePermission) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TemporaryFolder folder;
  fs::create_directory(folder / "locked");
  fs::permissions(folder / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(message_of<Error>([&] { write_file(folder / "locked/x", "x"); }),
              HasSubstr("must be writable"));
}

TEST(File, AFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  EXPECT_THAT(message_of<Error>([] { write_file("/dev/full", std::string(100'000, 'x')); }),
              AllOf(HasSubstr("No space left"), HasSubstr("free some space")));
  // Few bytes meet the full disk at closing only.
  EXPECT_THAT(message_of<Error>([] { write_file("/dev/full", "x"); }), HasSubstr("No space left"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST(File, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file(folder / "x", "old");
  // A limit on the size of files acts like a full disk, in the middle of writing.
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{50'000, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message =
      message_of<Error>([&] { write_file(folder / "x", std::string(100'000, 'y')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, AllOf(HasSubstr("File too large"), HasSubstr("choose another folder")));
  EXPECT_EQ(read_file(folder / "x"), "old");
  EXPECT_EQ(folder.partial_files(), 0);
}

TEST(File, DevicesAreWrittenNotReplaced) {
  write_file("/dev/null", "x");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(File, AFailingWriterLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file(folder / "x", "old");
  const auto fail = [&](const fs::path& temporary) {
    OutputFile file(temporary);
    file.write("half");
    throw DataError("the data ended");
  };
  const auto action = [&] { write_atomically(folder / "x", fail); };
  EXPECT_THAT(message_of<Error>(action), AllOf(HasSubstr("x: not written: the data ended")));
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 3);
  }
  EXPECT_EQ(read_file(folder / "x"), "old");
  EXPECT_EQ(folder.partial_files(), 0);
}

TEST(File, AWriterThatWritesNothingIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<Error>([&] { write_atomically(folder / "x", [](const fs::path&) {}); }),
              HasSubstr("x: cannot write"));
}

}  // namespace
}  // namespace quell
