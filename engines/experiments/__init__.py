"""An experiment is a file: trainings and adaptations that are compared, run one after another and resumed."""
