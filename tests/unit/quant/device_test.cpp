#include "framework/quant/device.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

TEST(DeviceProblem, SaysWhatThereIs) {
  for (const char* name : {"cpu", "cuda", "cuda:1"}) EXPECT_EQ(device_problem(name), "");
  EXPECT_EQ(device_problem("gpu"), "there is no device \"gpu\"; use cpu, cuda, or cuda:1");
  EXPECT_EQ(device_problem(""), "there is no device \"\"; use cpu, cuda, or cuda:1");
  EXPECT_EQ(device_problem("mps"), "models do not run on \"mps\"; use cpu, cuda, or cuda:1");
}

TEST(AvailableDevice, IsThere) {
  EXPECT_EQ(available_device("cpu"), at::Device(at::kCPU));
  EXPECT_EQ(device_name(available_device("cpu")), "cpu");
  EXPECT_THAT(message_of<ConfigError>([] { available_device("gpu"); }),
              HasSubstr("model.device: there is no device \"gpu\""));
  if (kernels::has_cuda()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_THAT(message_of<ConfigError>([] { available_device("cuda"); }),
              HasSubstr("model.device: cuda: this program has no kernels for it, or this machine"));
}

TEST(OnHost, LeavesWhatIsThere) {
  const at::Tensor tensor = at::ones({3});
  EXPECT_TRUE(on_host(tensor, "a test").is_same(tensor));
  EXPECT_FALSE(on_host(at::Tensor(), "a test").defined());
  EXPECT_FALSE(host_copies().contains("a test"));
}

}  // namespace
}  // namespace quell
