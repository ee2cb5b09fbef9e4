module mpinn/peer

go 1.18
