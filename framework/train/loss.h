// What training minimizes.
#pragma once

#include "framework/model/model.h"

namespace quell {

// Of the output "logits": cross entropy with Batch::labels that are classes (int64), or the mean
// squared error to those that are scores (float32). Of "start_logits" and "end_logits" [tokens]:
// the mean of both cross entropies with Batch::start_positions and end_positions, over each
// sequence's tokens. Throws DataError without labels or positions, for those that the model or the
// sequence does not have, and for scores of a model with several outputs.
at::Tensor task_loss(const Outputs& outputs, const Batch& batch);

// The scores of a regression, cut to [0, 5] without a gradient outside: what BERT does in every
// forward pass of the published code of Bondarenko et al. (EMNLP 2021).
constexpr float kLowestScore = 0, kHighestScore = 5;
at::Tensor clamped_scores(const at::Tensor& scores);

// Rows of an output without those of padding: outputs per token have some, others none.
at::Tensor without_padding(const at::Tensor& output, const Batch& batch);

// Distance to a teacher's outputs of the same names (Hinton, Vinyals and Dean 2015): the
// Kullback-Leibler divergence of the classes' probabilities at `temperature`, times its square,
// mean over rows (sequences, or the target tokens of a model that writes; without padding) and sum
// over outputs; the mean squared error where there is one output value.
at::Tensor distillation_loss(const Outputs& outputs, const Outputs& teacher, double temperature);

// Mean squared error of each output, summed over the outputs that `targets` has: the published
// distance between the quantized and the float network. Outputs per token count without padding.
at::Tensor output_distance(const Outputs& outputs, const Outputs& targets, const Batch& batch);

}  // namespace quell
