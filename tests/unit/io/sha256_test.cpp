#include "framework/io/sha256.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

// Values from FIPS 180-2, appendix B.
TEST(Sha256, EqualsTheStandardsExamples) {
  EXPECT_EQ(sha256_of_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of_text("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const TemporaryFolder folder;
  const auto path = folder.write("a", std::string(1'000'000, 'a'));
  EXPECT_EQ(sha256_of_file(path),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256_of_file(folder.write("empty", "")), sha256_of_text(""));
  const std::string large(3 * (1 << 20) + 17, 'x');  // several pieces
  EXPECT_EQ(sha256_of_file(folder.write("large", large)), sha256_of_text(large));
  EXPECT_THAT(message_of<DataError>([&] { sha256_of_file(folder / "none"); }),
              HasSubstr("none: cannot open"));
}

}  // namespace
}  // namespace quell
