#include "framework/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <system_error>

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

TEST(File, ReadsNoPipesAndNoDevices) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  // Without the guard this waits for a writer for ever.
  EXPECT_THAT(message_of<DataError>([&] { read_file(folder / "pipe"); }), HasSubstr("not a file"));
  EXPECT_THAT(message_of<DataError>([&] { read_file("/dev/zero"); }), HasSubstr("not a file"));
}

TEST(File, ReadsNoMoreThanTheLimit) {
  const TemporaryFolder folder;
  folder.write("ten", "0123456789");
  EXPECT_EQ(read_file(folder / "ten", 10), "0123456789");
  EXPECT_THAT(message_of<DataError>([&] { read_file(folder / "ten", 9); }),
              HasSubstr("ten: has more than 9 bytes"));
  EXPECT_THAT(message_of<DataError>([&] { read_file("/proc/self/status", 5); }),
              HasSubstr("more than 5 bytes"));
  // Takes no space on the disk, and would take a terabyte of memory.
  fs::resize_file(folder.write("sparse", ""), uintmax_t{1} << 40);
  EXPECT_THAT(message_of<DataError>([&] { read_file(folder / "sparse"); }),
              HasSubstr("sparse: has more than"));
}

TEST(File, PlainNamesStayWhereTheyAre) {
  for (const char* name : {"a", "A-1_b=c+d.e", "...", ".x"})
    EXPECT_TRUE(is_plain_name(name)) << name;
  for (const std::string name : {"", ".", "..", "a/b", "/", "a b", "a\n", "\u00e9", "a\\b", "~:"}) {
    EXPECT_FALSE(is_plain_name(name)) << name;
  }
  EXPECT_FALSE(is_plain_name(std::string("a\0b", 3)));
}

TEST(File, CopiesAnySize) {
  const TemporaryFolder folder;
  const std::string content = std::string(3'000'000, 'x') + "end";
  folder.write("from", content);
  copy_atomically(folder / "from", folder / "to");
  EXPECT_EQ(read_file(folder / "to"), content);
  copy_atomically(folder.write("empty", ""), folder / "to");
  EXPECT_EQ(read_file(folder / "to"), "");
  EXPECT_THAT(message_of<DataError>([&] { copy_atomically(folder / "none", folder / "to"); }),
              HasSubstr("no such file"));
  EXPECT_EQ(folder.partial_files(), 0);
}

// As from two hosts that share a folder, where numbers of processes are no difference.
TEST(File, TwoWritersOfOneFileDoNotMeet) {
  const TemporaryFolder folder;
  write_atomically(folder / "x", [&](const fs::path& outer) {
    OutputFile file(outer);
    file.write("first, ");
    write_file(folder / "x", "second");
    EXPECT_EQ(read_file(folder / "x"), "second");
    file.write("and still whole");
    file.close();
  });
  EXPECT_EQ(read_file(folder / "x"), "first, and still whole");
  EXPECT_EQ(folder.partial_files(), 0);
}

TEST(File, WritesNeitherThroughALinkNorIntoAFileThatIsThere) {
  const TemporaryFolder folder;
  folder.write("precious", "old");
  fs::create_symlink(folder / "precious", folder / "link.partial");
  EXPECT_THROW(OutputFile(folder / "link.partial"), std::system_error);
  EXPECT_THROW(OutputFile(folder / "precious"), std::system_error);
  EXPECT_EQ(read_file(folder / "precious"), "old");
}

TEST(File, NewFilesHaveTheUsualPermissions) {
  const TemporaryFolder folder;
  const mode_t mask = ::umask(0027);
  write_file(folder / "x", "");
  ::umask(mask);
  EXPECT_EQ(fs::status(folder / "x").permissions(), fs::perms(0640));
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
