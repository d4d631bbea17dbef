#include "framework/quant/device.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

TEST(DeviceNamed, KnowsTheCpu) {
  EXPECT_EQ(device_named("cpu"), at::Device(at::kCPU));
  EXPECT_EQ(device_name(device_named("cpu")), "cpu");
}

TEST(DeviceNamed, SaysWhatThereIs) {
  EXPECT_THAT(message_of<ConfigError>([] { device_named("gpu"); }),
              HasSubstr("there is no device \"gpu\"; use cpu, cuda, or cuda:1"));
  EXPECT_THAT(message_of<ConfigError>([] { device_named("mps"); }),
              HasSubstr("models do not run on device \"mps\""));
  if (kernels::has_cuda()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_THAT(message_of<ConfigError>([] { device_named("cuda"); }),
              HasSubstr("device cuda: this program has no kernels for it, or this machine no GPU"));
}

TEST(OnHost, LeavesWhatIsThere) {
  const at::Tensor tensor = at::ones({3});
  EXPECT_TRUE(on_host(tensor, "a test").is_same(tensor));
  EXPECT_FALSE(on_host(at::Tensor(), "a test").defined());
  EXPECT_FALSE(host_copies().contains("a test"));
}

}  // namespace
}  // namespace quell
