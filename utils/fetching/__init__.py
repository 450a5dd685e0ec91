"""ISIC 2017 from the network: what there is, how it comes, how it is unpacked and proved.

sources (what there is) · http, part, download (resumable, several at once) · meters (how far it is)
checksums · archives, unpack (nothing but images, nowhere but in their folder) · bring (all of it)
extras (further images, through the archive's own tool)
"""
