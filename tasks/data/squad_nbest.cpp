#include "tasks/data/squad_nbest.h"

#include "framework/base/file.h"

namespace quell {

std::vector<RankedText> ranked_texts(const SquadAnswer& answer) {
  std::vector<RankedText> texts;
  for (const SquadCandidate& candidate : answer.candidates) {
    texts.push_back({candidate.text,
                     {{"score", candidate.score},
                      {"start_logit", candidate.start_logit},
                      {"end_logit", candidate.end_logit},
                      {"probability", candidate.probability}}});
  }
  return texts;
}

void NBestLists::add(const std::string& id, const SquadAnswer& answer) {
  auto list = nlohmann::ordered_json::array();
  for (const SquadCandidate& candidate : answer.candidates) {
    list.push_back({{"score", candidate.score},
                    {"start_logit", candidate.start_logit},
                    {"end_logit", candidate.end_logit},
                    {"text", candidate.text},
                    {"probability", candidate.probability}});
  }
  lists_[id] = std::move(list);
}

void NBestLists::write(const std::filesystem::path& file) const {
  write_file(file, lists_.dump(4, ' ', /*ensure_ascii=*/true) + "\n");
}

}  // namespace quell
