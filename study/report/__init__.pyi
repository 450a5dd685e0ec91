from .index import write as write
