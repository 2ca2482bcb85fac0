"""The recipes: data sets, the training loop, fitness, full-size models. Sees no database: genotypes in, accuracies out."""
