look
printf 'node=%s\nreadyz=%s\nready=%s\nvoter=%s\nkubelet=%s\nsimulated=%s\ntrouble=%s\n' "$NODE" "$readyz" "$ready" "$voter" \
  "$kubelet" "$simulated" "$trouble"
