from pysyncobj.syncobj import SyncObj as SyncObj
