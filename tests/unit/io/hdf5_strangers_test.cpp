// HDF5 files that lead out of themselves, or in circles.

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <cstdlib>

#include "framework/base/error.h"
#include "framework/base/file_lock.h"
#include "framework/io/hdf5_reader.h"
#include "framework/io/hdf5_writer.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using internal::Hdf5Handle;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Hdf5Strangers : public testing::Test {
 protected:
  Hdf5Strangers() {
    folder_.write("secret", "abcdefgh");
    Hdf5Writer other((folder_ / "other.h5"));
    other.write("data", at::tensor({7.f, 8.f}));
    other.commit();
    file_ = {H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), &H5Fclose};
    add("data", Hdf5Handle(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose));
  }

  std::string path() const { return (folder_ / "a.h5").string(); }
  void group(const std::string& name) {
    Hdf5Handle(H5Gcreate2(file_.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
               &H5Gclose);
  }
  // A dataset of two float32.
  void add(const std::string& name, const Hdf5Handle& options) {
    const hsize_t size = 2;
    const Hdf5Handle space(H5Screate_simple(1, &size, nullptr), &H5Sclose);
    const Hdf5Handle dataset(H5Dcreate2(file_.get(), name.c_str(), H5T_IEEE_F32LE, space.get(),
                                        H5P_DEFAULT, options.get(), H5P_DEFAULT),
                             &H5Dclose);
    ASSERT_TRUE(dataset.valid());
  }
  Hdf5Reader read() {
    file_.reset();
    return Hdf5Reader(path());
  }
  static std::string refusal(const Hdf5Reader& file, const std::string& object) {
    return message_of<DataError>([&] { file.read_tensor(object); });
  }

  TemporaryFolder folder_;
  Hdf5Handle file_;
};

TEST_F(Hdf5Strangers, LinksAreNotFollowed) {
  H5Lcreate_soft("/data", file_.get(), "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/dangling", file_.get(), "broken", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external((folder_ / "other.h5").c_str(), "/", file_.get(), "external", H5P_DEFAULT,
                     H5P_DEFAULT);
  H5Lcreate_hard(file_.get(), "data", file_.get(), "hard", H5P_DEFAULT, H5P_DEFAULT);
  const Hdf5Reader file = read();
  EXPECT_EQ(file.read_tensor("hard").numel(), 2);
  for (const char* object : {"soft", "broken", "external", "external/data", "/external/data"}) {
    EXPECT_THAT(refusal(file, object), HasSubstr("soft or external link")) << object;
  }
  EXPECT_THAT(file.leaves("/"), ElementsAre("broken", "data", "external", "hard", "soft"));
}

TEST_F(Hdf5Strangers, ValuesInOtherFilesAreNotRead) {
  const Hdf5Handle external(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  H5Pset_external(external.get(), (folder_ / "secret").c_str(), 0, 8);
  add("external", external);
  const Hdf5Handle links(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  const hsize_t size = 2;
  const Hdf5Handle space(H5Screate_simple(1, &size, nullptr), &H5Sclose);
  H5Pset_virtual(links.get(), space.get(), (folder_ / "other.h5").c_str(), "/data", space.get());
  add("virtual", links);
  const Hdf5Reader file = read();
  for (const char* object : {"external", "virtual"}) {
    EXPECT_THAT(refusal(file, object), AllOf(HasSubstr(object), HasSubstr("in other files")));
  }
}

TEST_F(Hdf5Strangers, CirclesOfGroupsEnd) {
  group("a");
  group("a/b");
  add("a/b/deep", Hdf5Handle(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose));
  H5Lcreate_hard(file_.get(), "/", file_.get(), "a/b/top", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file_.get(), "a", file_.get(), "a/b/again", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_THAT(read().leaves("/"), ElementsAre("a/b/deep", "data"));
}

TEST_F(Hdf5Strangers, MessagesAreTextWhateverObjectsAreNamed) {
  add("data\xFF", Hdf5Handle(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose));
  const Hdf5Reader file = read();
  const std::string message = message_of<DataError>([&] { file.read_texts("data\xFF"); });
  EXPECT_THAT(message, HasSubstr("object \"data\": holds no text"));
}

TEST_F(Hdf5Strangers, DepthIsLimited) {
  std::string name = "g";
  for (int depth = 0; depth < 150; ++depth, name += "/g") group(name);
  const Hdf5Reader file = read();
  EXPECT_THAT(message_of<DataError>([&] { file.leaves("/"); }), HasSubstr("nested deeper than"));
}

TEST_F(Hdf5Strangers, NoPlugInsAreLoaded) {
  H5PLset_loading_state(H5PL_ALL_PLUGIN);
  read();
  unsigned state = 1;
  H5PLget_loading_state(&state);
  EXPECT_EQ(state, 0u);
}

TEST_F(Hdf5Strangers, TypesAreNoDatasets) {
  // A committed type that stays open keeps the file open, and so its lock.
  Hdf5Handle type(H5Tcopy(H5T_IEEE_F32LE), &H5Tclose);
  ASSERT_GE(H5Tcommit2(file_.get(), "type", type.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), 0);
  type.reset();
  EXPECT_THAT(refusal(read(), "type"), HasSubstr("is a type"));
}

TEST_F(Hdf5Strangers, AFileThatIsWrittenToIsInUse) {
  file_.reset();
  {
    const FileLock writer = FileLock::exclusive(path());
    EXPECT_THAT(message_of<DataError>([&] { Hdf5Reader file(path()); }),
                AllOf(HasSubstr("a.h5: in use"), HasSubstr("lock"),
                      HasSubstr("HDF5_USE_FILE_LOCKING=FALSE"), Not(HasSubstr("truncated"))));
    ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
    EXPECT_EQ(Hdf5Reader(path()).read_tensor("data").numel(), 2);
    ::unsetenv("HDF5_USE_FILE_LOCKING");
  }
  // Readers go together, and keep writers out.
  const Hdf5Reader first(path()), second(path());
  EXPECT_EQ(second.read_tensor("data").numel(), 2);
  EXPECT_FALSE(FileLock::exclusive(path()).held());
}

}  // namespace
}  // namespace quell
