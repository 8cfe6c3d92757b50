package logx

import "io"

// Raw prints text that is in another form already (klog's, with the end of its line) where the other lines go.
func Raw(text string) {
	mu.Lock()
	defer mu.Unlock()
	_, _ = io.WriteString(out, text)
}
