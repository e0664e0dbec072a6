"""What looks for trouble: warnings at the first step, alarms over metrics, --verify-prefix."""
