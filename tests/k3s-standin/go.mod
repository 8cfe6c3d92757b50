module hmco-boot/k3s-standin

go 1.24.0

godebug default=go1.23
