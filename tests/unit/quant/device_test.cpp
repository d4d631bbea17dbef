#include "framework/quant/device.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(DevicesProblem, SaysWhatThereIs) {
  for (const char* name : {"cpu", "cuda", "cuda:1"}) EXPECT_EQ(devices_problem({name}), "");
  EXPECT_EQ(devices_problem({"cuda:0", "cuda:1"}), "");
  EXPECT_EQ(devices_problem({"gpu"}), "there is no device \"gpu\"; use cpu, cuda, or cuda:1");
  EXPECT_EQ(devices_problem({""}), "there is no device \"\"; use cpu, cuda, or cuda:1");
  EXPECT_EQ(devices_problem({"mps"}), "models do not run on \"mps\"; use cpu, cuda, or cuda:1");
}

TEST(DevicesProblem, SaysWhatAListMayNotBe) {
  EXPECT_EQ(devices_problem({"cuda:0", "cpu"}),
            "a model runs on the cpu or on GPUs; leave cpu out of the list");
  EXPECT_EQ(devices_problem({"cuda", "cuda:1"}), "say which in a list, as in [cuda:0, cuda:1]");
  EXPECT_EQ(devices_problem({"cuda:1", "cuda:1"}), "lists \"cuda:1\" twice");
}

TEST(AvailableDevices, AreThere) {
  EXPECT_THAT(available_devices({"cpu"}), ElementsAre(at::Device(at::kCPU)));
  EXPECT_EQ(device_names(available_devices({"cpu"})), "cpu");
  EXPECT_THAT(message_of<ConfigError>([] { available_devices({"gpu"}); }),
              HasSubstr("model.device: there is no device \"gpu\""));
  if (kernels::has_cuda()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_THAT(message_of<ConfigError>([] { available_devices({"cuda"}); }),
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
