#include "framework/model/placement.h"

#include <gmock/gmock.h>

namespace quell {
namespace {

using testing::ElementsAre;

void add_segment(std::deque<Segment>& segments, const std::string& tensor, int64_t elements,
                 const std::string& tied_to = "") {
  Segment& segment = segments.emplace_back();
  segment.tensors.push_back({.stored = {.name = tensor, .shape = {elements}, .tied_to = tied_to}});
}

TEST(ShareOut, GivesNeighboursAboutEqualBytes) {
  std::deque<Segment> segments;
  add_segment(segments, "table", 30);
  for (int i = 0; i < 4; ++i) add_segment(segments, "layer" + std::to_string(i), 20);
  add_segment(segments, "head", 10);
  EXPECT_THAT(share_out(segments, 1), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(share_out(segments, 2), ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THAT(share_out(segments, 3), ElementsAre(0, 0, 1, 1, 2, 2));
}

TEST(ShareOut, KeepsATiedTensorInOnePlace) {
  std::deque<Segment> segments;
  add_segment(segments, "encoder.table", 10, "shared");
  add_segment(segments, "layer", 30);
  add_segment(segments, "decoder.table", 10, "shared");
  add_segment(segments, "head", 10, "encoder.table");
  EXPECT_THAT(share_out(segments, 2), ElementsAre(0, 0, 0, 0));
  add_segment(segments, "scores", 30);
  EXPECT_THAT(share_out(segments, 2), ElementsAre(0, 0, 0, 0, 1));
}

TEST(ShareOut, MayLeaveDevicesWithout) {
  std::deque<Segment> segments;
  add_segment(segments, "table", 100);
  add_segment(segments, "layer", 1);
  EXPECT_THAT(share_out(segments, 4), ElementsAre(0, 3));
}

}  // namespace
}  // namespace quell
