"""What evaluations of language models are repeated with: their datasets and scorers."""
