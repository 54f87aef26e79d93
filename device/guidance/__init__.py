"""What helps the person at the stage: focus, thick and thin places, the objective, the light. It changes no slide."""
