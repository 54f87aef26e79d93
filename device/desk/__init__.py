"""What the person at the screen is doing: counting, answering a question, reviewing. Inputs come in, wishes and pages go out."""
