module wc

go 1.22
